"""Why a file is not read: what it is, what it lacks, and what would help."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from .log_file import HEAD, LogFile
from .metric_names import list_names
from .numbers import parse_number

_NUMBER = re.compile(r"[-+]?\d+\.?\d*(e[-+]?\d+)?", re.IGNORECASE)

_KINDS = {
    b"PK\x03\x04": "is a ZIP archive, such as a .npz file, that is damaged or has no evaluations of stable-baselines3",
    b"\xff\xfe": "is text in UTF-16, as PowerShell writes it: save it in UTF-8",
    b"\xfe\xff": "is text in UTF-16: save it in UTF-8",
    b"\x1f\x8b": "is compressed: unpack it",
    b"\x80": "is a pickle, which may run code and is never loaded: save the numbers as CSV or JSON",
    b"\x93NUMPY": "is a NumPy array without names of metrics: save the numbers as CSV or JSON",
    b"\x89HDF": "is an HDF5 file, in which no run is looked for: save the numbers as CSV or JSON",
    b"SQLite format 3\0": "is a SQLite database without the tables of MLflow",
}
"""What a file is by its first bytes."""
_STRANGE = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_FEW = 0.02
"""The share of such bytes below which a file is a damaged text."""
_ITSELF = "; if it is a log, give its own path"
"""What helps in a folder: a file of its own path needs less to be read."""
_LONGEST = 50
"""Characters of the label of a column."""


def explain(file: LogFile) -> str:
    """Return what a file that no reader recognizes is, as the rest of a sentence.

    Args:
        file: The file.

    Raises:
        OSError: The file cannot be read.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "notes.txt")
    >>> _ = path.write_text("Nothing was measured.")
    >>> explain(LogFile(path))
    'is text without numbers'
    """
    if not file.head:
        return "is empty"
    if not file.head.decode("utf-8-sig", errors="replace").strip():
        return "is empty but for white space"
    for start, what in _KINDS.items():
        if file.head.startswith(start):
            return what
    if not file.text.strip():
        return _explain_bytes(file.head)
    itself = "" if file.named else _ITSELF
    if file.begins_like_json:
        return _explain_json(file, itself)
    if columns := _columns(file):
        return (
            f"is a table with the columns {list_names(columns)}, without a column of epochs, steps or iterations, and "
            "without columns of a training, such as 'loss' and 'val_loss': rename the column of the epochs to 'epoch'"
            f"{itself}"
        )
    if _NUMBER.search(file.text):
        return (
            "is text in which no known pattern was found: name the numbers in its lines by a regular expression, as in "
            r"--pattern 'epoch (?P<epoch>\d+): loss (?P<loss>\S+)'"
        )
    return "is text without numbers"


def _explain_bytes(head: bytes) -> str:
    """Return what a file is that is not text in UTF-8: a text with damage, and where, or a binary file."""
    places = [place for place in (head.find(b"\0"), _first_undecoded(head)) if place >= 0]
    place = min(places, default=0)
    if len(_STRANGE.findall(head)) > _FEW * len(head) or not head[:place].strip():
        return "is a binary file of an unknown format"
    line = head.count(b"\n", 0, place) + 1
    return f"is text with damage: byte {place:,}, in line {line:,}, is no text in UTF-8; mend or remove that line"


def _first_undecoded(head: bytes) -> int:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return -1


def _columns(file: LogFile) -> list[str]:
    """Return the columns of a table, whose second line has as many cells, and a number alone in one; else none."""
    first, *further = file.text.splitlines()
    delimiter = max(",;\t", key=first.count)
    header = [cell.strip() for cell in first.split(delimiter)]
    below = further[0].split(delimiter) if further else []
    words = all(0 < len(cell) < _LONGEST and parse_number(cell) is None for cell in header[1:])
    if len(header) == 1 or not words or parse_number(header[0]) is not None:
        return []
    if below:
        return header if len(below) == len(header) and any(parse_number(cell) is not None for cell in below) else []
    return [] if _NUMBER.search(first) else header


def _explain_json(file: LogFile, itself: str) -> str:
    if file.document is not None:
        return _explain_document(file.document) + (itself if file.document else "")
    first = file.lines[0] if file.lines else ""
    try:
        line = json.loads(first)
    except (ValueError, RecursionError):
        line = None
    if isinstance(line, Mapping):
        keys = list_names(cast("Mapping[str, Any]", line))
        return (
            f"has a JSON object in each line, with the keys {keys}, but without numbers of epochs or steps, and "
            f"without those of a training, such as 'loss' and 'val_loss'{itself}"
        )
    return f"begins like JSON, but is not complete, or is damaged{_place_of_damage(file)}"


def _place_of_damage(file: LogFile) -> str:
    """Return where JSON ends to be JSON, if this is in what was read."""
    try:
        json.loads(file.text)
    except json.JSONDecodeError as error:
        if len(file.head) < HEAD or error.pos < len(file.text):
            return f", at line {error.lineno:,}, column {error.colno:,}"
    except (ValueError, RecursionError):
        pass
    return ""


def _explain_document(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = list_names(cast("Mapping[str, Any]", content)) if content else "no keys"
        what = f"is a JSON object with the keys {keys}" if content else "is an empty JSON object"
    else:
        what = f"is a JSON list of {len(content):,} elements" if content else "is an empty JSON list"
    return (
        f"{what}, in none of the known forms: a list of numbers for each metric, as in "
        '{"loss": [2.0, 1.5]}, or an object for each epoch, as in [{"epoch": 0, "loss": 2.0}]'
    )
