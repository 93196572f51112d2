"""How ranks meet at one point of the loop: every meeting begins with the same sum over the same number of numbers.

So ranks that stand at different points, since one has more batches than the other or has left its loop, meet all the
same, and each of them sees in the sums who is where. What is seldom said follows in messages of its own, as the sums
tell all ranks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

from ..capabilities import Ranks
from ..errors import RankError

__all__ = ["BarrierResult", "Point", "RankMismatch", "Rendezvous", "describe_error", "describe_failures"]

Point = Literal[
    "on_batch_begin",
    "on_batch_end",
    "on_validation_begin",
    "on_validation_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_begin",
    "answer",
    "on_train_end",
]
"""Where ranks meet; an answer follows each of the others that plugins decide at."""

POINTS: tuple[Point, ...] = get_args(Point)
BATCHES = ("on_batch_begin", "on_batch_end")
END = "on_train_end"

SIZE = 256
"""Numbers of one meeting: two kilobytes."""
FAILED, ASIDE, LENGTH, PLACE, LAYOUT, AT = 0, 1, 2, 3, 7, 11
ROOM = AT + len(POINTS)
"""Where the numbers begin that the point itself exchanges."""
BYTES = 6
"""Of a message, to a number: it holds them exactly."""
BITS = 18
"""Of a digest, to a number: the squares add up exactly over 100,000 ranks."""


class BarrierResult(NamedTuple):
    """What the ranks have told each other at one point."""

    row: list[float]
    """The sums of the numbers that each rank gave."""
    alike: bool
    """Whether all ranks had the same layout of these numbers; else the sums mean nothing."""
    value: Any
    """The value of rank 0."""
    asides: list[dict[str, Any]]
    """What each rank had to say besides; empty where none had anything."""
    failed: dict[int, str]
    """Each rank that brought an error, with its words."""


class RankMismatch(RankError):
    """What all ranks raise together, so that they can still meet at the end of the run."""

    asides: Sequence[dict[str, Any]] = ()
    """What was said besides by ranks that have left, or are left behind."""


class Rendezvous:
    """The meetings of one run's ranks.

    Args:
        ranks: the processes.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.exchanges = 0
        """How many messages went round: sums, broadcasts and the like."""

    def meet(
        self,
        point: Point,
        place: object = None,
        *,
        row: Sequence[float] = (),
        layout: object = None,
        value: Any = None,
        aside: dict[str, Any] | None = None,
        error: BaseException | None = None,
    ) -> BarrierResult | None:
        """Meet the other ranks at `point`. A rank that is further on than others waits until they come.

        Args:
            point: where this rank stands.
            place: what must be the same on all ranks that stand there, as plain data.
            row: numbers to be summed over the ranks.
            layout: what these numbers mean, as plain data.
            value: what rank 0 tells, as plain data; in the place of numbers.
            aside: what this rank has to say besides, seldom.
            error: what this rank has failed by.

        Returns:
            What was said; None where other ranks have no such batch any more, so that it is told on none.

        Raises:
            RankMismatch: the ranks stand at different points, have drifted apart, or have left the loop.
            RankError: ranks are gone.
        """
        data = json.dumps(value).encode() if self.ranks.rank == 0 and value is not None else b""
        numbers = [float(error is not None), float(bool(aside)), float(len(data)), *_digest(place), *_digest(layout)]
        numbers += [float(each == point) for each in POINTS]
        numbers += _packed(data) if data else row
        numbers = numbers[:SIZE] + [0.0] * (SIZE - len(numbers))
        while True:
            sums = self.sum(numbers)
            asides = cast("list[dict[str, Any]]", self.everywhere(aside or {})) if sums[ASIDE] else []
            failed = self._failed(error) if sums[FAILED] else {}
            present: list[Point] = [each for each, count in zip(POINTS, sums[AT:ROOM], strict=True) if count]
            if present == [point]:
                break
            if not self._waits(point, present, asides):
                return None
        if not failed and not self._same(sums[PLACE:LAYOUT]):
            self._drifted(place)
        summed = sums[ROOM : ROOM + len(row)]
        alike = self._same(sums[LAYOUT:AT])
        if alike and len(row) > SIZE - ROOM:
            summed += self.sum(row[SIZE - ROOM :])
        return BarrierResult(summed, alike, self._received(sums, value), asides, failed)

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """One sum over all ranks."""
        self.exchanges += 1
        return self.ranks.all_reduce_sum(numbers)

    def maximum(self, numbers: Sequence[float]) -> list[float]:
        """One maximum over all ranks."""
        self.exchanges += 1
        return self.ranks.all_reduce_max(numbers)

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, on rank 0."""
        self.exchanges += 1
        return self.ranks.gather(value)

    def everywhere(self, value: Any) -> list[Any]:
        """The values of all ranks, on all of them."""
        self.exchanges += 2
        return list(self.ranks.broadcast(self.ranks.gather(value)))

    def _waits(self, point: Point, present: list[Point], asides: list[dict[str, Any]]) -> bool:
        """Whether this rank waits for those that stand elsewhere, or has nothing to do where it stands."""
        batches = [each for each in present if each in BATCHES]
        if len(batches) == 1 and len(present) == 2 and END not in present and "answer" not in present:
            return point not in BATCHES
        groups: dict[str, list[int]] = {}
        for rank, each in enumerate(self.everywhere(point)):
            groups.setdefault(each, []).append(rank)
        if END in present and point == END:
            return True
        where = ", ".join(f"{_named(ranks)} at {each}" for each, ranks in groups.items())
        verdict = RankMismatch(f"the ranks stand at different events: {where}; state the same events on every rank")
        verdict.asides = asides
        raise verdict

    def _failed(self, error: BaseException | None) -> dict[int, str]:
        words = self.everywhere(None if error is None else describe_error(error))
        return {rank: each for rank, each in enumerate(words) if each is not None}

    def _same(self, sums: Sequence[float]) -> bool:
        """Whether all ranks gave the same digest: then, and only then, its values have no variance."""
        pairs = zip(sums[::2], sums[1::2], strict=True)
        return all(self.ranks.size * int(squares) == int(total) ** 2 for total, squares in pairs)

    def _drifted(self, place: object) -> None:
        groups: dict[str, list[int]] = {}
        for rank, each in enumerate(self.everywhere(place)):
            groups.setdefault(json.dumps(each), []).append(rank)
        where = "; ".join(f"{_named(ranks)}: {each}" for each, ranks in groups.items())
        raise RankMismatch(f"the ranks have drifted apart: {where}")

    def _received(self, sums: Sequence[float], value: Any) -> Any:
        length = int(sums[LENGTH])
        if not length:
            return None
        if length > (SIZE - ROOM) * BYTES:
            self.exchanges += 1
            return self.ranks.broadcast(value)
        data = b"".join(int(number).to_bytes(BYTES, "little") for number in sums[ROOM:])
        return json.loads(data[:length])


def describe_failures(failed: dict[int, str]) -> str:
    """The errors of ranks in words, each once.

    >>> describe_failures({1: "OSError: no space", 2: "OSError: no space"})
    'ranks 1, 2: OSError: no space'
    """
    groups: dict[str, list[int]] = {}
    for rank, words in failed.items():
        groups.setdefault(words, []).append(rank)
    return "; ".join(f"{_named(ranks)}: {words}" for words, ranks in groups.items())


def describe_error(error: BaseException) -> str:
    """An error in words."""
    return str(error) if isinstance(error, RankError) else f"{type(error).__name__}: {error}"


def _named(ranks: list[int]) -> str:
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {', '.join(map(str, ranks))}"


def _digest(value: object) -> list[float]:
    data = hashlib.sha256(json.dumps(value).encode()).digest()
    parts = [int.from_bytes(data[start : start + 4], "little") % (1 << BITS) for start in (0, 4)]
    return [float(number) for part in parts for number in (part, part * part)]


def _packed(data: bytes) -> list[float]:
    return [float(int.from_bytes(data[start : start + BYTES], "little")) for start in range(0, len(data), BYTES)]
