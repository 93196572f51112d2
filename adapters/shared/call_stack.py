"""Find the call of a framework that runs a callback by reading the call stack, where it passes no reference to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


def frames(frame: FrameType | None = None) -> Iterator[FrameType]:
    """Yield the frames of the stack, from ``frame`` or the current one outwards."""
    frame = frame or sys._getframe(1)  # noqa: SLF001 - as in the documentation of Python
    while frame is not None:
        yield frame
        frame = frame.f_back


def frames_of_all_threads() -> Iterator[FrameType]:
    """Yield the frames of every thread, each from the innermost outwards."""
    for innermost in sys._current_frames().values():  # noqa: SLF001 - as in the documentation of Python
        yield from frames(innermost)


def innermost_self(kind: type) -> Any:
    """Return the object of class ``kind`` whose method was called last on the stack; None without one."""
    found = (frame.f_locals.get("self") for frame in frames())
    return next((each for each in found if isinstance(each, kind)), None)
