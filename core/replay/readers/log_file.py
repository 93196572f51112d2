"""A file that may record a run, as readers look at it to recognize their format."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from ...limits import JSON_BYTES

HEAD = 1 << 16
"""The bytes of a file's beginning."""
_OBJECT = re.compile(r'\{\s*(?:["}]|$)')
_LIST = re.compile(r'\[\s*(?:[{"]|$)')


class LogFile:
    r"""A file: its path, and its beginning, which is read once for all readers.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "log.txt")
    >>> _ = path.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss"')
    >>> file = LogFile(path)
    >>> file.lines, file.document
    (['{"step": 1, "loss": 2.5}'], None)
    """

    def __init__(self, path: Path, *, named: bool = False) -> None:
        self.path = path
        """Where it is; a format that has fixed file or folder names may look at it."""
        self.named = named
        """Whether the user gave the path of this file, and not that of a directory above it, which may have any files.
        A reader of any table or lines then needs less to recognize it as a log."""

    @cached_property
    def head(self) -> bytes:
        """Its first bytes, at most ``HEAD``."""
        with self.path.open("rb") as file:
            return file.read(HEAD)

    @cached_property
    def text(self) -> str:
        """These bytes as text, without a byte order mark; empty if they are not text."""
        if b"\0" in self.head:
            return ""
        try:
            return self.head.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            cut = len(self.head) == HEAD and error.start > HEAD - 4  # within the last character
            return self.head[: error.start].decode("utf-8-sig") if cut else ""

    @cached_property
    def lines(self) -> list[str]:
        """The complete lines of this text, without their ends; the last one counts if the file ends with it."""
        found = self.text.splitlines()
        whole = self.text.endswith(("\n", "\r")) or (len(self.head) < HEAD and len(found) == 1)
        return found if whole else found[:-1]

    @cached_property
    def begins_like_json(self) -> bool:
        """Whether the text begins with a JSON object or list; a bracket may also begin the lines of another log."""
        text = self.text.strip()
        if text[:1] not in ("{", "["):
            return False
        if _OBJECT.match(text) or _LIST.match(text):
            return True
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError as error:
            return error.pos >= len(text)  # it was cut
        except (ValueError, RecursionError):
            return False
        return not text[end:].partition("\n")[0].strip()

    @cached_property
    def document(self) -> Any:
        """The content of a file that is one JSON object or list; None for any other file."""
        if self.text.lstrip()[:1] not in ("{", "[") or self.path.stat().st_size > JSON_BYTES:
            return None
        try:
            return json.loads(self.path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError):
            return None
