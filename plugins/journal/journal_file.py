"""The journal's file: lines of JSON, of which only complete ones are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from trainbus.journal import parse
from trainbus.storage.atomic_file import make_directory
from trainbus.storage.file_kind import check_regular, kind_of, open_regular

from ..append_only_file import AppendOnlyFile

_BEGINNING = b'{"time":'
"""The start of every line, including an incomplete one."""


def open_journal(path: Path, report: Callable[[OSError], object] = lambda _: None) -> AppendOnlyFile:
    """Open a journal to append lines, and remove an incomplete last line, which a killed process may leave.

    Args:
        path: The file; created with its directory if it does not exist.
        report: As in ``AppendOnlyFile``.

    Raises:
        OSError: The file cannot be written.
        JournalError: The file exists and is not a journal.
    """
    make_directory(path.parent)
    if not (kind_of(path) == "device" and path.samefile(os.devnull)):  # which takes a journal
        check_regular(path)
    _check(path)
    size = _complete_size(path) if path.exists() else 0
    return AppendOnlyFile(path, size=size, report=report, complete=_complete_size)


def _check(path: Path) -> None:
    """Raise ``JournalError`` if the file is not a journal."""
    if path.is_file() and path.stat().st_size:
        with open_regular(path) as file:
            first = file.readline()
        if first.endswith(b"\n") or not first.startswith(_BEGINNING):
            next(parse(path))


def _complete_size(path: Path) -> int:
    """Return the size of the file without an incomplete last line."""
    end = path.stat().st_size if path.is_file() else 0
    if not end:
        return 0
    with open_regular(path) as file:
        while end:
            begin = max(end - 65536, 0)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
    return 0
