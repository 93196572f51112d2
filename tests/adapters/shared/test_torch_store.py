"""Calls of a job's store end in time, also while the process that keeps the store is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from trainbus import RankError
from trainbus.adapters.shared.torch_store import BoundedStore

Store = tuple[int, Any]


KEEPS = """
import signal, sys
import torch.distributed as dist
store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
print(store.port, flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def process() -> Iterator[tuple[int, int]]:
    """The number of another process that keeps a store, and its port."""
    with subprocess.Popen([sys.executable, "-c", KEEPS], stdout=subprocess.PIPE) as keeping:
        assert keeping.stdout is not None
        yield keeping.pid, int(keeping.stdout.readline())
        keeping.kill()


@pytest.fixture
def keeper(process: tuple[int, int]) -> Iterator[Store]:
    """That process and a connection to its store."""
    child, port = process
    yield child, dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=60))
    os.kill(child, signal.SIGCONT)


def stop(child: int) -> None:
    os.kill(child, signal.SIGSTOP)
    os.waitpid(child, os.WUNTRACED)


def resume(child: int) -> None:
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, os.WCONTINUED)


def outcome(store: BoundedStore, call: Any) -> str:
    try:
        return str(store.ask(call))
    except RankError as error:
        return str(error)


CALLS = {
    "check": lambda store: store.check(["missing"]),
    "get": lambda store: store.get("known"),
    "num_keys": lambda store: store.num_keys(),
    "compare_set": lambda store: store.compare_set("known", "", "new"),
    "add": lambda store: store.add("number", 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_store_whose_process_is_stopped_is_silent(name: str, keeper: Store) -> None:
    """Whatever is asked; a second question raises without a wait, and the store serves again once it can."""
    child, connection = keeper
    store = BoundedStore(connection, patience=0.2)
    store.ask(lambda store: store.set("known", "value"))
    stop(child)

    said = "the process that keeps the job's store (rank 0, or torchrun) is stopped or cannot be reached"
    assert outcome(store, CALLS[name]) == said
    assert outcome(store, pytest.fail) == said
    resume(child)
    while (answer := outcome(store, lambda store: store.get("known").decode())) == said:
        pass
    assert answer in ("value", "new")


def test_all_threads_that_wait_for_a_silent_store_raise(keeper: Store) -> None:
    """The first one that loses its patience speaks for all."""
    child, connection = keeper
    store = BoundedStore(connection, patience=0.5)
    stop(child)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(outcome(store, CALLS["check"]))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)

    assert len(found) == 4
    assert all("is stopped or cannot be reached" in each for each in found)


def test_an_error_of_the_store_is_raised_where_it_was_asked(keeper: Store) -> None:
    """And the store serves the next question."""
    _, connection = keeper
    store = BoundedStore(connection)
    with pytest.raises(ZeroDivisionError):
        store.ask(lambda _: 1 // 0)
    assert store.ask(lambda store: store.add("after an error", 2)) == 2


def test_a_store_that_is_not_used_any_more_ends_its_thread(keeper: Store) -> None:
    _, connection = keeper
    before = set(threading.enumerate())
    store = BoundedStore(connection)
    (thread,) = set(threading.enumerate()) - before
    assert store.ask(lambda store: store.add("before the end", 1)) == 1
    del store
    thread.join(30)
    assert not thread.is_alive()


EXITS = """
import atexit, os, signal, sys, threading
atexit.register(lambda: print([each.name for each in threading.enumerate()[1:]]))  # called last
from contextlib import suppress
from trainbus import RankError
from trainbus.adapters.shared.torch_store import BoundedStore
import torch.distributed as dist

store = BoundedStore(dist.TCPStore("127.0.0.1", int(sys.argv[1]), is_master=False), patience=2.0)
assert not store.ask(lambda store: store.check(["a"]))
if sys.argv[2:]:
    os.kill(int(sys.argv[2]), signal.SIGSTOP)
    with suppress(RankError):
        while True:  # the other process stops a moment after the signal
            store.ask(lambda store: store.check(["a"]))
sys.setswitchinterval(3600)  # no thread runs before this one waits
"""


@pytest.mark.parametrize(("stopped", "left"), [(False, "[]"), (True, "['trainbus-store']")])
@pytest.mark.exhaustive
def test_the_process_ends_after_the_thread_that_calls_the_store(keeper: Store, stopped: bool, left: str) -> None:
    """A thread that deletes torch's store while the interpreter ends aborts the process; a silent store delays none."""
    child, store = keeper
    command = [sys.executable, "-c", EXITS, str(store.port), *([str(child)] if stopped else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, left, "")
