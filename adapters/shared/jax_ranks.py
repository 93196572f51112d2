"""The processes of a `jax.distributed` job, and how they talk to each other beside the training."""

# JAX's client of the service that connects its processes has no public name, and no types
# ruff: noqa: SLF001
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from trainbus import MissingDependency, RankError

try:
    import jax  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:
    raise MissingDependency(f"{error}; pip install jax") from error

__all__ = ["JaxRanks"]

RUNS = count()
"""Every process makes as many runs, in the same order: the number keeps their messages apart."""
SLICE = 0.5
"""Seconds after which whoever waits for a message looks whether its sender has left."""


class JaxRanks:
    """The processes of the job, which talk through the service that connected them.

    So nothing here can meet a collective of the training, and no device waits. Each says its part, rank 0 takes them in
    the order of the ranks and says the answer: as many messages as there are ranks, twice.

    Args:
        timeout: seconds that one rank waits for the others.
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
        """The sums over all ranks, the same to the bit on each of them."""
        sums: list[float] = self._exchange(
            list(numbers), lambda said: [sum(place) for place in zip(*said, strict=True)]
        )
        return sums

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        """The largest of all ranks."""
        found: list[float] = self._exchange(
            list(numbers), lambda said: [max(place) for place in zip(*said, strict=True)]
        )
        return found

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0."""
        return self._exchange(value if self.rank == 0 else None, lambda said: said[0])

    def gather(self, value: Any) -> list[Any]:
        """On rank 0 the values of all ranks."""
        found: list[list[Any]] = [[]]

        def take(said: list[Any]) -> None:
            found[0] = said

        self._exchange(value, take)
        return found[0]

    def put_if_absent(self, name: str, text: str) -> str:
        """Put up a note in the job's store; the first one of a name stays."""
        key = f"{self._name}/notes/{name}"
        try:
            self._client.key_value_set(key, text)
        except RuntimeError as error:
            if "ALREADY_EXISTS" not in str(error):
                raise RankError(f"the service of the job cannot be reached: {_first_line(error)}") from error
        return self.get(name) or text

    def get(self, name: str) -> str | None:
        """The note of this name, None where there is none."""
        return self._found(f"notes/{name}")

    def close(self) -> None:
        """Exchange nothing any more; whoever waits for this rank learns so within a second."""
        if not self._closed:
            self._closed = "this rank has left them"
            self.put_if_absent(f"gone/{self.rank}", "yes")

    # --- inner workings

    def _exchange(self, mine: Any, answer: Callable[[list[Any]], Any]) -> Any:
        if self._closed:
            raise RankError(f"the ranks exchange nothing any more: {self._closed}")
        number = next(self._numbers)
        try:
            if self.rank:
                self._client.key_value_set(f"{self._name}/said/{number}/{self.rank}", json.dumps(mine))
                return json.loads(self._awaited(f"answer/{number}", 0))
            others = [self._awaited(f"said/{number}/{rank}", rank) for rank in range(1, self.size)]
            found = answer([mine, *map(json.loads, others)])
            self._client.key_value_set(f"{self._name}/answer/{number}", json.dumps(found))
            self._client.key_value_delete(f"{self._name}/said/{number}")
            if number:  # all ranks have read it, or they would not have spoken again
                self._client.key_value_delete(f"{self._name}/answer/{number - 1}")
        except RuntimeError as error:
            self._closed = "one of them has failed"
            if isinstance(error, RankError):
                raise
            raise RankError(f"the service of the job cannot be reached: {_first_line(error)}") from error
        return found

    def _awaited(self, key: str, rank: int) -> str:
        """What a rank says."""
        until = time.monotonic() + self.timeout
        while True:
            gone = self.get(f"gone/{rank}") is not None
            try:
                return str(self._client.blocking_key_value_get(f"{self._name}/{key}", 1 if gone else int(SLICE * 1000)))
            except RuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise
            if gone:
                raise RankError(self._left())
            if time.monotonic() > until:
                raise RankError(f"the ranks did not come together within {self.timeout:g} seconds")

    def _left(self) -> str:
        left = {rank: text for rank in range(self.size) if (text := self.get(f"left/{rank}"))}
        return "; ".join(f"rank {rank} has left: {text}" for rank, text in left.items()) or "another rank is gone"

    def _found(self, key: str) -> str | None:
        try:
            return str(self._client.key_value_try_get(f"{self._name}/{key}"))
        except RuntimeError as error:
            if "NOT_FOUND" in str(error):
                return None
            raise RankError(f"the service of the job cannot be reached: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
