"""The call stack is read from the inside outwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial, reduce
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.shared.call_stack import frames, frames_of_all_threads, innermost_self


class Outer:
    def call(self, action: Callable[[], Any]) -> Any:
        return action()


class Inner(Outer):
    pass


def nested(depth: int, action: Callable[[], Any]) -> Any:
    """Call ``action`` at this depth."""
    return nested(depth - 1, action) if depth else action()


@given(st.integers(0, 20))
def test_frames_go_outwards_from_the_caller(depth: int) -> None:
    """The first is the caller's own, and each called the one before it."""
    found = nested(depth, lambda: list(frames()))

    assert [frame.f_code.co_name for frame in found[: depth + 3]] == [
        "<lambda>",
        *["nested"] * (depth + 1),
        "test_frames_go_outwards_from_the_caller",
    ]
    assert all(inner.f_back is outer for inner, outer in pairwise(found))
    assert found[-1].f_back is None


@given(kinds=st.lists(st.sampled_from([Outer, Inner]), max_size=6))
def test_the_innermost_object_of_a_class_is_found(kinds: list[type[Outer]]) -> None:
    """Of nested calls of methods it is the last; subclasses count."""
    objects = [kind() for kind in kinds]

    def found() -> list[Any]:
        return [innermost_self(Outer), innermost_self(Inner)]

    outer, inner = reduce(lambda action, each: partial(each.call, action), reversed(objects), found)()

    assert outer is (objects[-1] if objects else None)
    assert inner is next((each for each in reversed(objects) if isinstance(each, Inner)), None)


def test_the_frames_of_other_threads_are_found() -> None:
    """While they run."""
    entered, leave = threading.Event(), threading.Event()

    def waits_elsewhere() -> None:
        entered.set()
        leave.wait(30)

    thread = threading.Thread(target=waits_elsewhere)
    thread.start()
    assert entered.wait(30)
    found = {frame.f_code.co_name for frame in frames_of_all_threads()}
    leave.set()
    thread.join()

    assert found >= {"waits_elsewhere", "test_the_frames_of_other_threads_are_found"}
    assert "waits_elsewhere" not in {frame.f_code.co_name for frame in frames_of_all_threads()}
