"""Lines of a text file, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ....errors import SettingsError
from ....limits import JOURNAL_LINE


def whole_lines(path: Path, notes: list[str]) -> Iterator[tuple[int, str]]:
    r"""Yield the number, counted from 1, and the text of each line that is complete and not empty.

    Args:
        path: The file.
        notes: Receives a sentence if the last line has no end and is left out.

    Raises:
        SettingsError: A line is too long, or is not text in UTF-8.
        OSError: The file cannot be read.

    >>> import tempfile
    >>> path, notes = Path(tempfile.mkdtemp(), "log"), []
    >>> _ = path.write_text("one\n\ntwo\nthr")
    >>> list(whole_lines(path, notes)), notes
    ([(1, 'one'), (3, 'two')], ['The last line of log has no line end, as after a killed run, and is left out.'])
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(JOURNAL_LINE), b""), 1):
            if not line.endswith(b"\n"):
                if len(line) == JOURNAL_LINE:
                    raise SettingsError(f"{str(path)!r}: line {number:,} has more than {JOURNAL_LINE:,} bytes")
                notes.append(f"The last line of {path.name} has no line end, as after a killed run, and is left out.")
                return
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise SettingsError(f"{str(path)!r}: line {number:,} is not text in UTF-8") from None
            if text.strip():
                yield number, text
