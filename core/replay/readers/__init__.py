"""Readers of recorded runs, and what a package needs to add one: see docs/recordings.md."""

from ..records import Recording, Series
from .json.document import read_json
from .log_file import LogFile
from .numbers import parse_number
from .reader import Reader, Source
from .recording import build_recording
from .rows import Cells, Table
from .table_recording import record_table

__all__ = [
    "Cells",
    "LogFile",
    "Reader",
    "Recording",
    "Series",
    "Source",
    "Table",
    "build_recording",
    "parse_number",
    "read_json",
    "record_table",
]
