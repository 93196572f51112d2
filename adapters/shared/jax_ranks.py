"""The processes of a ``jax.distributed`` job, and their messages, which are separate from those of the training."""

# JAX's client of its coordination service has no public name and no types
# ruff: noqa: SLF001
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from trainbus import MissingDependency, RankError

try:
    import jax  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:
    raise MissingDependency(f"{error}; pip install jax") from error

RUNS = count()
"""Counts the runs of this process; every process creates the same runs in the same order."""
POLL_INTERVAL = 0.5
"""Seconds between two checks whether the sender of an awaited message has left."""


class JaxRanks:
    """The processes of the job, which exchange messages through JAX's coordination service.

    Nothing here can interfere with a collective of the training, and no device waits. Each rank sends its value; rank 0
    combines them in the order of the ranks and sends the result. An exchange takes two messages per rank.

    Args:
        timeout: Seconds that one rank waits for the others.
    """

    def __init__(self, timeout: float) -> None:
        self.rank: int = jax.process_index()
        self.size: int = jax.process_count()
        self.timeout = timeout
        self._client: Any = jax._src.distributed.global_state.client
        self._name = f"trainbus/{next(RUNS)}"
        self._numbers = count()
        self._closed = ""

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums over all ranks, bit for bit the same on each of them."""
        return self._reduced(sum, numbers)

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        """Return the maximum over all ranks of each number."""
        return self._reduced(max, numbers)

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value."""
        return self._exchange(value if self.rank == 0 else None, lambda values: values[0])

    def gather(self, value: Any) -> list[Any]:
        """Return all ranks' values on rank 0, and None on the others."""
        gathered: list[Any] = []
        self._exchange(value, gathered.extend)
        return gathered

    def put_if_absent(self, name: str, text: str) -> str:
        """Set a key of the job's store if it is not set; return its value."""
        key = f"{self._name}/notes/{name}"
        try:
            self._client.key_value_set(key, text)
        except RuntimeError as error:
            if "ALREADY_EXISTS" not in str(error):
                raise _unreachable(error) from error
        return self.get(name) or text

    def get(self, name: str) -> str | None:
        """Return the value of a key of the job's store, None if it is not set."""
        try:
            return str(self._client.key_value_try_get(f"{self._name}/notes/{name}"))
        except RuntimeError as error:
            if "NOT_FOUND" in str(error):
                return None
            raise _unreachable(error) from error

    def close(self) -> None:
        """Leave the group; ranks that wait for this one fail within a second."""
        self._close("this rank has left it")

    def _close(self, why: str) -> None:
        if not self._closed:
            self._closed = why
            self.put_if_absent(f"gone/{self.rank}", "yes")

    def _reduced(self, operation: Callable[[Sequence[float]], float], numbers: Sequence[float]) -> list[float]:
        reduced: list[float] = self._exchange(
            list(numbers), lambda values: [operation(column) for column in zip(*values, strict=True)]
        )
        return reduced

    def _exchange(self, mine: Any, answer: Callable[[list[Any]], Any]) -> Any:
        if self._closed:
            raise RankError(f"the group of ranks is closed: {self._closed}")
        number = next(self._numbers)
        try:
            if self.rank:
                self._client.key_value_set(f"{self._name}/sent/{number}/{self.rank}", json.dumps(mine))
                return json.loads(self._receive(f"answer/{number}", 0))
            others = [self._receive(f"sent/{number}/{rank}", rank) for rank in range(1, self.size)]
            result = answer([mine, *map(json.loads, others)])
            self._client.key_value_set(f"{self._name}/answer/{number}", json.dumps(result))
            self._client.key_value_delete(f"{self._name}/sent/{number}")
            if number:  # all ranks have read the last answer, or they would not have sent again
                self._client.key_value_delete(f"{self._name}/answer/{number - 1}")
        except RuntimeError as error:
            with suppress(RankError):  # the service itself may be gone
                self._close("one of them has failed")
            if isinstance(error, RankError):
                raise
            raise _unreachable(error) from error
        return result

    def _receive(self, key: str, rank: int) -> str:
        """Wait for a message of a rank."""
        until = time.monotonic() + self.timeout
        while True:
            gone = self.get(f"gone/{rank}") is not None
            wait = 1 if gone else int(POLL_INTERVAL * 1000)
            try:
                return str(self._client.blocking_key_value_get(f"{self._name}/{key}", wait))
            except RuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise
            if gone:
                raise RankError(self._left())
            if time.monotonic() > until:
                raise RankError(f"the ranks did not meet within {self.timeout:g} seconds")

    def _left(self) -> str:
        left = {rank: text for rank in range(self.size) if (text := self.get(f"left/{rank}"))}
        return "; ".join(f"rank {rank} has left: {text}" for rank, text in left.items()) or "another rank is gone"


def _unreachable(error: BaseException) -> RankError:
    reason = str(error).strip().partition("\n")[0]
    return RankError(f"the service of the job cannot be reached: {reason}")
