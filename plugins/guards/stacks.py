"""The stacks of all threads of this process as text."""

from __future__ import annotations

import sys
import threading
import traceback
from types import FrameType

DEBUGGERS = frozenset({"bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy", "pudb", "ipdb", "IPython.core.debugger"})
"""Modules in which a thread is while a debugger has paused it."""
LONGEST = 100_000
"""Characters of the text."""


def _frames() -> dict[int, FrameType]:
    return sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - Python documents it


def stacks_of_all_threads() -> str:
    """Return the stack of each thread except the calling one, the main thread first, innermost call last.

    >>> "MainThread" in stacks_of_all_threads() or threading.current_thread() is threading.main_thread()
    True
    """
    names = {each.ident: each.name for each in threading.enumerate()}
    main, own = threading.main_thread().ident, threading.get_ident()
    frames = sorted(_frames().items(), key=lambda each: each[0] != main)
    parts = [
        f"Thread {names.get(ident, ident)} (most recent call last):\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames
        if ident != own
    ]
    return "\n".join(parts)[:LONGEST]


def is_in_debugger() -> bool:
    """Return whether a debugger has paused the main thread."""
    frame = _frames().get(threading.main_thread().ident or 0)
    return any(_is_of_debugger(each) for each in _outwards(frame))


def _is_of_debugger(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name in DEBUGGERS or name.partition(".")[0] in DEBUGGERS


def _outwards(frame: FrameType | None) -> list[FrameType]:
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames
