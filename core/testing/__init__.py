"""Test utilities for authors of callbacks, plugins and adapters: a small subject, scripted runs, contract checks."""

from .bindings import check_binding
from .checks import check_callback, check_subject
from .event_recorder import EventRecorder, RecordedEvent, scripted
from .line_subject import LineSubject

__all__ = [
    "EventRecorder",
    "LineSubject",
    "RecordedEvent",
    "check_binding",
    "check_callback",
    "check_subject",
    "scripted",
]
