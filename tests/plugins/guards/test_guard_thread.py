"""A guard's thread calls a method at the times that it asks for, until it is closed or its object is gone."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from trainbus.plugins.guards.guard_thread import GuardThread


class Looks:
    """Asks for these waits, one after the other."""

    def __init__(self, *waits: float | None) -> None:
        self.waits = list(waits)
        self.looked: list[str] = []
        self.over = threading.Event()

    def look(self) -> float | None:
        self.looked.append(threading.current_thread().name)
        if len(self.waits) == 1:
            self.over.set()
        return self.waits.pop(0)


@pytest.mark.parametrize("waits", [[None], [0.0, None], [0.001, 0.0, None], [-1.0, 0.002, 0.001, None]])
def test_it_calls_until_no_call_is_asked_for(waits: list[float | None]) -> None:
    looks = Looks(*waits)
    thread = GuardThread("guard", looks.look)
    assert looks.over.wait(30)
    thread.close()
    thread.close()

    assert looks.looked == ["guard"] * len(waits)


def test_close_ends_a_long_wait_and_leaves_no_thread() -> None:
    looks = Looks(1e9, None)
    thread = GuardThread("guard-closed", looks.look)
    thread.close()

    assert "guard-closed" not in [each.name for each in threading.enumerate()]
    assert len(looks.looked) <= 1


def test_it_ends_when_its_object_is_collected() -> None:
    looks = Looks(*[0.001] * 100_000)
    thread = GuardThread("guard-collected", looks.look)
    (running,) = [each for each in threading.enumerate() if each.name == "guard-collected"]
    del looks
    gc.collect()
    running.join(30)

    assert not running.is_alive()
    thread.close()


def test_a_method_may_close_its_own_thread() -> None:
    class Closes:
        def __init__(self) -> None:
            self.made = threading.Event()
            self.closed = threading.Event()

        def look(self) -> float | None:
            self.made.wait()
            self.thread.close()
            self.closed.set()
            return 0.0

    closes = Closes()
    closes.thread = GuardThread("guard-self", closes.look)
    closes.made.set()

    assert closes.closed.wait(30)


def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    looks = Looks(1e9, None)
    thread = GuardThread("guard-forked", looks.look)
    child = os.fork()
    if not child:
        thread.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    thread.close()
