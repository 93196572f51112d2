"""JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeGuard

from ....errors import SettingsError
from ....limits import JSON_BYTES


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        SettingsError: The file is not JSON, or is too large.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    if size > JSON_BYTES:
        raise SettingsError(f"{str(path)!r} has {size:,} bytes; a training history has at most {JSON_BYTES:,}")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{str(path)!r} is not JSON, or is incomplete: {error}") from None


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Return whether a part of a document is a list."""
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a part of a document is an object, which maps text to values."""
    return isinstance(value, dict)
