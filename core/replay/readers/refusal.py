"""Why a file is not read: what it is, what it lacks, and what would help."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from .log_file import LogFile
from .metric_names import list_names

_NUMBER = re.compile(r"[-+]?\d+\.?\d*(e[-+]?\d+)?", re.IGNORECASE)


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
    if not file.text.strip():
        return "is empty but for white space" if not file.head.strip() else "is a binary file of an unknown format"
    start = file.text.lstrip()[0]
    if start in "{[":
        return _explain_json(file)
    header = file.text.splitlines()[0]
    delimiter = max(",;\t", key=header.count)
    cells = [cell.strip() for cell in header.split(delimiter)]
    if len(cells) > 1 and all(0 < len(cell) < 50 for cell in cells[1:]):
        return (
            f"is a table with the columns {list_names(cells)}, without a column of epochs, steps or iterations, and "
            "without one that is called like a metric, such as 'val_loss': rename the column of the epochs to 'epoch'"
        )
    if _NUMBER.search(file.text):
        return (
            "is text in which no known pattern was found: name the numbers in its lines by a regular expression, as in "
            r"--pattern 'epoch (?P<epoch>\d+): loss (?P<loss>\S+)'"
        )
    return "is text without numbers"


def _explain_json(file: LogFile) -> str:
    if file.document is not None:
        return _explain_document(file.document)
    first = file.lines[0] if file.lines else ""
    try:
        line = json.loads(first)
    except (ValueError, RecursionError):
        line = None
    if isinstance(line, Mapping):
        keys = list_names(cast("Mapping[str, Any]", line))
        return (
            f"has a JSON object in each line, with the keys {keys}, but none of them is a number that is called like a "
            "metric, such as 'loss'"
        )
    return "begins like JSON, but is not complete, or is damaged"


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
