"""Checks of a ``.skops`` file before skops reads it: what it declares fits into it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, cast
from zipfile import ZipFile

from trainbus.limits import NESTING, SCHEMA_NODES, unpacked_limit
from trainbus.storage.archive import check_archive, check_arrays, check_unpacked

SCHEMA: Final = "schema.json"


def check_contents(path: Path) -> None:
    """Raise an error if reading the file would need much more memory or time than its size explains.

    Raises:
        ValueError: It declares more than it holds, or refers to one part too many times.
        TypeError: Its schema is not one of skops.
        KeyError: It has no schema.
        BadZipFile: It is damaged.
    """
    with path.open("rb") as file:
        sizes = check_archive(file)
        check_arrays(file)
    with ZipFile(path) as archive:
        schema: Any = json.loads(archive.read(SCHEMA))
    parts = _Schema(sizes)
    parts.visit(schema)
    check_unpacked(parts.read, unpacked_limit(path.stat().st_size))


class _Schema:
    """Counts what skops does with a schema: the objects that it visits, and the bytes that it reads.

    Args:
        sizes: Name to unpacked size of each entry of the archive.
    """

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes
        self._known: dict[Any, int] = {}
        self.read = 0
        """Bytes of the entries, each as often as the schema names it."""

    def visit(self, found: Any, depth: int = 0) -> int:
        """Return the number of objects in a part of the schema, with those of the objects that it refers to."""
        if depth > NESTING * 3:  # three containers for one of the state's
            raise ValueError(f"it nests containers more than {NESTING} deep")
        if not isinstance(found, (dict, list)):
            return 0
        fields = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        identity = fields.get("__id__")
        if isinstance(identity, (int, str)):
            if identity in self._known:
                return self._known[identity]
            self._known[identity] = 1  # it may refer to itself
        if isinstance(file := fields.get("file"), str):
            self.read += self._sizes.get(file, 0)
        members = cast("Iterable[Any]", fields.values() if isinstance(found, dict) else found)
        total = 1 + sum(self.visit(each, depth + 1) for each in members)
        if total > SCHEMA_NODES:
            raise ValueError(
                f"it holds more than {SCHEMA_NODES:,} objects, each counted as often as others refer to it"
            )
        if isinstance(identity, (int, str)):
            self._known[identity] = total
        return total
