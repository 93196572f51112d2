"""Find the ``fit`` that runs a callback by reading the call stack, since Keras passes no reference to it."""

# Keras declares no types
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any


def frames(frame: FrameType | None = None) -> Iterator[FrameType]:
    """Yield the frames of the stack, from ``frame`` or the current one outwards."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def uses(frame: FrameType, callback_list: Any) -> bool:
    """Return whether this call runs ``callback_list``, Keras's list of callbacks."""
    return frame.f_locals.get("callbacks") is callback_list


def is_in_use(reference: Callable[[], Any]) -> bool:
    """Return whether any thread is inside the ``fit`` that runs the referenced list of callbacks."""
    callback_list = reference()
    every = (frame for innermost in sys._current_frames().values() for frame in frames(innermost))
    return callback_list is not None and any(uses(frame, callback_list) for frame in every)


def innermost_self(kind: type) -> Any:
    """Return the object of class ``kind`` whose method was called last on the stack; None without one."""
    found = (frame.f_locals.get("self") for frame in frames())
    return next((each for each in found if isinstance(each, kind)), None)


def fit_locals(callback_list: Any) -> Mapping[str, Any]:
    """Return the local variables of the ``fit`` that runs ``callback_list``; they alone hold its validation options."""
    for frame in frames():
        variables = frame.f_locals
        if frame.f_code.co_name == "fit" and "validation_freq" in variables and uses(frame, callback_list):
            return variables
    return {}
