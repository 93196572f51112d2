"""The stacks of all threads are text; a thread that a debugger has paused is known."""

from __future__ import annotations

import io
import pdb  # noqa: T100 - a real debugger is paused
import threading
from collections.abc import Callable

import pytest

from trainbus.plugins.guards.stacks import LONGEST, is_in_debugger, stacks_of_all_threads


def in_thread(call: Callable[[], object], name: str = "asks") -> object:
    """Return what the call returns in another thread."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(call()), name=name)
    thread.start()
    thread.join()
    return found[0]


def test_every_thread_but_the_calling_one_is_named_with_its_calls() -> None:
    go, reached = threading.Event(), threading.Event()

    def waits_here() -> None:
        reached.set()
        go.wait()

    other = threading.Thread(target=waits_here, name="waiting")
    other.start()
    reached.wait()
    stacks = str(in_thread(stacks_of_all_threads))
    go.set()
    other.join()

    assert stacks.startswith("Thread MainThread (most recent call last):")
    assert "test_every_thread_but_the_calling_one" in stacks
    assert "Thread waiting" in stacks
    assert "in waits_here" in stacks
    assert "Thread asks" not in stacks


def test_a_deep_stack_is_cut() -> None:
    def deeper(depth: int) -> object:
        return deeper(depth - 1) if depth else in_thread(stacks_of_all_threads)

    # equal calls are written once, so that these differ
    def first(depth: int) -> object:
        return second(depth - 1) if depth else in_thread(stacks_of_all_threads)

    def second(depth: int) -> object:
        return first(depth - 1) if depth else in_thread(stacks_of_all_threads)

    assert len(str(deeper(100))) < LONGEST
    assert len(str(first(800))) == LONGEST


def test_a_debugger_that_waits_for_input_is_known() -> None:
    asked: list[object] = []

    class Typed(io.StringIO):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            asked.append(in_thread(is_in_debugger))
            return "continue\n"

    debugger = pdb.Pdb(stdin=Typed(), stdout=io.StringIO(), nosigint=True, readrc=False)
    debugger.set_trace()
    after = in_thread(is_in_debugger)

    assert asked == [True]
    assert after is False


@pytest.mark.parametrize("name", ["pydevd", "_pydevd_bundle.pydevd_frame", "debugpy.server.api", "bdb"])
def test_other_debuggers_are_known_by_their_modules(name: str) -> None:
    scope: dict[str, object] = {"__name__": name, "ask": lambda: in_thread(is_in_debugger)}
    exec("def paused():\n    return ask()", scope)

    assert scope["paused"]() is True  # type: ignore[operator]


@pytest.mark.parametrize("name", ["train", "pdbs", "my.pdb", "__main__"])
def test_other_modules_are_no_debugger(name: str) -> None:
    scope: dict[str, object] = {"__name__": name, "ask": lambda: in_thread(is_in_debugger)}
    exec("def paused():\n    return ask()", scope)

    assert scope["paused"]() is False  # type: ignore[operator]
