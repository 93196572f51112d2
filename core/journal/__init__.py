"""The journal of a run: its file format, one line of JSON per event, and its reader.

Each line is an object whose key "event" names one of the models below. The JSON is strict: numbers that are not finite
are the strings "NaN", "Infinity" and "-Infinity". Epochs count from 0; times are seconds since 1970.

A file contains one run after another; each begins with the event "begin". A resumed run appends to its old file: its
"resumed" event says how many bytes of the file are still valid; events that the run wrote after them are void. So no
record is ever deleted. If a process was killed, the last line may be incomplete.
"""

from .events import (
    NAME,
    VERSION,
    ActionRecord,
    BestRecord,
    CheckpointSaved,
    DecisionMade,
    EpochEnded,
    Event,
    EventEmitted,
    ExceptionRaised,
    FailureReported,
    HangReported,
    PluginRecord,
    RunEnded,
    RunResumed,
    RunStarted,
    StopRequested,
    ValidationRecord,
    schema,
)
from .run_journal import RunJournal, parse, read

__all__ = [
    "NAME",
    "VERSION",
    "ActionRecord",
    "BestRecord",
    "CheckpointSaved",
    "DecisionMade",
    "EpochEnded",
    "Event",
    "EventEmitted",
    "ExceptionRaised",
    "FailureReported",
    "HangReported",
    "PluginRecord",
    "RunEnded",
    "RunJournal",
    "RunResumed",
    "RunStarted",
    "StopRequested",
    "ValidationRecord",
    "parse",
    "read",
    "schema",
]
