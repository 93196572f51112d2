"""Ranks that are threads of one process: the same protocol, at no cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

LIMIT = 30.0
"""Seconds after which threads that wait for each other count as hung."""


class Meeting:
    """The shared state of the ranks of one job."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size, timeout=LIMIT)
        self.values: list[Any] = [None] * size
        self.notes: dict[str, str] = {}


class ThreadRanks:
    """One rank of a group of threads."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size

    def all(self, value: Any) -> list[Any]:
        self.meeting.values[self.rank] = value
        self.meeting.barrier.wait()
        values = list(self.meeting.values)
        with suppress(threading.BrokenBarrierError):  # a rank that closes has come so far, so all have their values
            self.meeting.barrier.wait()
        return values

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        return [sum(place) for place in zip(*self.all(list(numbers)), strict=True)]

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        return [max(place) for place in zip(*self.all(list(numbers)), strict=True)]

    def broadcast(self, value: Any) -> Any:
        return self.all(value)[0]

    def gather(self, value: Any) -> list[Any]:
        values = self.all(value)
        return values if self.rank == 0 else []

    def put_if_absent(self, name: str, text: str) -> str:
        return self.meeting.notes.setdefault(name, text)

    def get(self, name: str) -> str | None:
        return self.meeting.notes.get(name)

    def close(self) -> None:
        self.meeting.barrier.abort()


def on_all(size: int, play: Callable[[ThreadRanks], T]) -> list[T]:
    """Return the result of each rank."""
    meeting = Meeting(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(play, [ThreadRanks(meeting, rank) for rank in range(size)]))
