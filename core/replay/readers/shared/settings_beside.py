"""The settings of a run, as trackers write them beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from ....limits import NESTING, SETTINGS_BYTES
from .plain_data import as_mapping

_MERGE = "<<"
"""The key by which a mapping takes over others; a few lines of them may stand for gigabytes, also for a safe loader."""
_DAMAGES = (ValueError, RecursionError, AttributeError, LookupError, TypeError)
"""What PyYAML raises besides its own errors, for texts with the tag of another type."""
MOST: Final = 10_000
"""Settings of one run; further ones are left out."""


def flattened(settings: object) -> dict[str, object]:
    """Return settings inside settings with the names of all of them, as ``model/depth``.

    >>> flattened({"lr": 0.1, "model": {"depth": 3, "widths": [4, 4]}})
    {'lr': 0.1, 'model/depth': 3, 'model/widths': [4, 4]}
    """
    return dict(islice(_leaves(settings, ""), MOST))


def _leaves(settings: object, name: str, depth: int = 0) -> Iterator[tuple[str, object]]:
    inner: Mapping[str, Any] = as_mapping(settings) if depth < NESTING else {}
    if inner:
        for key, value in inner.items():
            yield from _leaves(value, f"{name}/{key}" if name else str(key), depth + 1)
    elif name:
        yield name, settings


def read_yaml(path: Path, notes: list[str]) -> dict[str, object]:
    """Return the settings in a YAML file; none if there is no such file.

    Args:
        path: The file.
        notes: Receives a sentence if the file cannot be read; the run itself can.

    >>> read_yaml(Path("no-such-file.yaml"), [])
    {}
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > SETTINGS_BYTES:
        notes.append(f"{path.name} beside the run has more than {SETTINGS_BYTES:,} bytes and is not read.")
        return {}
    try:
        import yaml  # noqa: PLC0415 - wanted only where there is such a file
    except ImportError:
        notes.append(f"The settings in {path.name} are not read: pip install 'trainbus[yaml]'.")
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        if _MERGE in text:
            raise ValueError(f"it has the merge key {_MERGE!r}")
        return flattened(yaml.safe_load(text))
    except (yaml.YAMLError, *_DAMAGES) as error:
        why = str(error).partition("\n")[0]
        notes.append(f"The settings in {path.name} are not read: {why or type(error).__name__}.")
        return {}
