"""The calls that led here: which `fit` tells which list of callbacks, as Keras tells no callback."""

# Keras declares no types, and tells nobody but its own classes of calls between layers and of what fit was given
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

__all__ = ["frames", "innermost", "locals_of_fit", "used", "uses"]


def frames(frame: FrameType | None = None) -> Iterator[FrameType]:
    """The calls that led to `frame`, or here, the innermost first."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def uses(frame: FrameType, events: Any) -> bool:
    """Whether this call tells `events`, Keras's list of callbacks."""
    return frame.f_locals.get("callbacks") is events


def used(reference: Callable[[], Any]) -> bool:
    """Whether any thread is inside the `fit` that tells this list of callbacks."""
    events = reference()
    every = (frame for last in sys._current_frames().values() for frame in frames(last))
    return events is not None and any(uses(frame, events) for frame in every)


def innermost(kind: type) -> Any:
    """The object of this class whose method, of all that led here, was called last; None where there is none."""
    found = (frame.f_locals.get("self") for frame in frames())
    return next((each for each in found if isinstance(each, kind)), None)


def locals_of_fit(events: Any) -> Mapping[str, Any]:
    """The local variables of the `fit` that uses `events`, from which alone a callback learns of its validations."""
    for frame in frames():
        given = frame.f_locals
        if frame.f_code.co_name == "fit" and "validation_freq" in given and given.get("callbacks") is events:
            return given
    return {}
