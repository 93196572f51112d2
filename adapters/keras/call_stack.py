"""Find the ``fit`` that runs a callback by reading the call stack, since Keras passes no reference to it."""

# Keras declares no types
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from ..shared.call_stack import frames, frames_of_all_threads


def uses(frame: FrameType, callback_list: Any) -> bool:
    """Return whether this call runs ``callback_list``, Keras's list of callbacks."""
    return frame.f_locals.get("callbacks") is callback_list


def is_in_use(reference: Callable[[], Any]) -> bool:
    """Return whether any thread is inside the ``fit`` that runs the referenced list of callbacks."""
    callback_list = reference()
    return callback_list is not None and any(uses(frame, callback_list) for frame in frames_of_all_threads())


def fit_locals(callback_list: Any) -> Mapping[str, Any]:
    """Return the local variables of the ``fit`` that runs ``callback_list``; they alone hold its validation options."""
    for frame in frames():
        variables = frame.f_locals
        if frame.f_code.co_name == "fit" and "validation_freq" in variables and uses(frame, callback_list):
            return variables
    return {}
