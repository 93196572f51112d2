"""Barriers of ranks at the events of a run: each begins with the same all-reduce of the same number of values.

Ranks may wait at different events, because one has more batches than another or has left its loop. They still meet in
the same all-reduce, and its sums show each rank at which event the others wait. Rare messages follow in separate
exchanges, which the sums announce on all ranks.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

from ..capabilities import Ranks
from ..errors import RankError

T = TypeVar("T")
V = TypeVar("V")

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
"""The points at which ranks meet. An "answer" follows every other point at which plugins decide."""

POINTS: tuple[Point, ...] = get_args(Point)
BATCHES = ("on_batch_begin", "on_batch_end")
END = "on_train_end"

SIZE = 256
"""Values of one all-reduce: two kilobytes."""
BYTES_PER_VALUE = 6
"""Bytes of a message in one value: a float64 holds them exactly."""
DIGEST_BITS = 18
"""Bits of a digest in one value: the squares add up exactly over 100,000 ranks."""
DIGEST_VALUES = 4


class Header(IntEnum):
    """Index of each of the first values of the all-reduce; their results are sums over the ranks."""

    FAILED = 0
    SIDE_CHANNEL = 1
    LENGTH = 2
    PLACE = 3
    LAYOUT = PLACE + DIGEST_VALUES
    POINTS = LAYOUT + DIGEST_VALUES


PAYLOAD = Header.POINTS + len(POINTS)
"""Index of the first value that the caller passes."""


class BarrierResult(NamedTuple):
    """The values that the ranks have exchanged at one point."""

    sums: list[float]
    """The sums of the values that each rank contributed."""
    same_layout: bool
    """Whether all ranks had the same layout of these values; otherwise the sums are meaningless."""
    value: Any
    """The value of rank 0."""
    side_channel: list[dict[str, Any]]
    """The side-channel message of each rank; empty if none had one."""
    failed: dict[int, str]
    """Each rank that has failed, with its error."""


class RankMismatch(RankError):
    """Ranks wait at different points; all of them raise this together, so that they can still meet at the end."""

    side_channel: Sequence[dict[str, Any]] = ()
    """The side-channel messages of all ranks, including those that have left."""


class Rendezvous:
    """The barriers of the ranks of one run.

    Args:
        ranks: The processes.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.exchanges = 0
        """The number of collective operations so far."""
        self.waited = 0.0
        """The seconds that they took, most of which this rank has waited for others."""

    def barrier(
        self,
        point: Point,
        place: object = None,
        *,
        values: Sequence[float] = (),
        layout: object = None,
        value: Any = None,
        side_channel: dict[str, Any] | None = None,
        error: BaseException | None = None,
    ) -> BarrierResult | None:
        """Meet the other ranks at ``point``; a rank that is ahead waits for the others.

        Args:
            point: The point at which this rank waits.
            place: Data that must be the same on all ranks at this point, as plain JSON data.
            values: Numbers to sum over the ranks.
            layout: The meaning of these numbers, as plain JSON data; the same on all ranks.
            value: The value that rank 0 broadcasts, as plain JSON data, instead of numbers.
            side_channel: A rare message of this rank.
            error: The error of this rank, if it has failed.

        Returns:
            The exchanged values; None if other ranks have no such batch, so that no rank calls its plugins.

        Raises:
            RankMismatch: The ranks wait at different points, differ in ``place``, or have left the loop.
            RankError: Ranks are gone.
        """
        data = json.dumps(value).encode() if self.ranks.rank == 0 and value is not None else b""
        sent = [float(error is not None), float(bool(side_channel)), float(len(data))]
        sent += [*_digest(place), *_digest(layout), *(float(each == point) for each in POINTS)]
        sent += _encode_bytes(data) if data else values
        sent = sent[:SIZE] + [0.0] * (SIZE - len(sent))
        while True:
            sums = self.sum(sent)
            messages = (
                cast("list[dict[str, Any]]", self.all_gather(side_channel or {})) if sums[Header.SIDE_CHANNEL] else []
            )
            failed = self._failed(error) if sums[Header.FAILED] else {}
            counts = zip(POINTS, sums[Header.POINTS : PAYLOAD], strict=True)
            present: list[Point] = [each for each, count in counts if count]
            if present == [point]:
                break
            if not self._waits(point, present, messages):
                return None
        if not failed and not self._same(sums[Header.PLACE : Header.LAYOUT]):
            self._raise_different_places(place)
        summed = sums[PAYLOAD : PAYLOAD + len(values)]
        same_layout = self._same(sums[Header.LAYOUT : Header.POINTS])
        if same_layout and len(values) > SIZE - PAYLOAD:
            summed += self.sum(values[SIZE - PAYLOAD :])
        return BarrierResult(summed, same_layout, self._received(sums, value), messages, failed)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all ranks."""
        self.exchanges += 1
        return self._timed(self.ranks.all_reduce_sum, values)

    def maximum(self, values: Sequence[float]) -> list[float]:
        """Return the maxima over all ranks."""
        self.exchanges += 1
        return self._timed(self.ranks.all_reduce_max, values)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks on rank 0, nothing elsewhere."""
        self.exchanges += 1
        return self._timed(self.ranks.gather, value)

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, on all of them."""
        self.exchanges += 2
        return list(self._timed(self.ranks.broadcast, self._timed(self.ranks.gather, value)))

    def _timed(self, collective: Callable[[V], T], value: V) -> T:
        began = time.perf_counter()
        try:
            return collective(value)
        finally:
            self.waited += time.perf_counter() - began

    def _waits(self, point: Point, present: list[Point], messages: list[dict[str, Any]]) -> bool:
        """Return whether this rank must wait for ranks at other points; if not, it skips its point."""
        batches = [each for each in present if each in BATCHES]
        if len(batches) == 1 and len(present) == 2 and END not in present and "answer" not in present:
            return point not in BATCHES
        groups: dict[str, list[int]] = {}
        for rank, each in enumerate(self.all_gather(point)):
            groups.setdefault(each, []).append(rank)
        if END in present and point == END:
            return True
        where = ", ".join(f"{_ranks_text(ranks)} at {each}" for each, ranks in groups.items())
        mismatch = RankMismatch(f"the ranks wait at different events: {where}; every rank must report the same events")
        mismatch.side_channel = messages
        raise mismatch

    def _failed(self, error: BaseException | None) -> dict[int, str]:
        errors = self.all_gather(None if error is None else describe_error(error))
        return {rank: each for rank, each in enumerate(errors) if each is not None}

    def _same(self, sums: Sequence[float]) -> bool:
        """Return whether all ranks sent the same digest: only then do its values have no variance.

        A digest is sent as values and their squares. By the inequality of Cauchy and Schwarz, n times the sum of
        squares equals the square of the sum exactly when all n values are equal.
        """
        pairs = zip(sums[::2], sums[1::2], strict=True)
        return all(self.ranks.size * int(squares) == int(total) ** 2 for total, squares in pairs)

    def _raise_different_places(self, place: object) -> None:
        groups: dict[str, list[int]] = {}
        for rank, each in enumerate(self.all_gather(place)):
            groups.setdefault(json.dumps(each), []).append(rank)
        where = "; ".join(f"{_ranks_text(ranks)}: {each}" for each, ranks in groups.items())
        raise RankMismatch(f"the ranks are not in the same state: {where}")

    def _received(self, sums: Sequence[float], value: Any) -> Any:
        length = int(sums[Header.LENGTH])
        if not length:
            return None
        if length > (SIZE - PAYLOAD) * BYTES_PER_VALUE:
            self.exchanges += 1
            return self._timed(self.ranks.broadcast, value)
        data = b"".join(int(number).to_bytes(BYTES_PER_VALUE, "little") for number in sums[PAYLOAD:])
        return json.loads(data[:length])


def describe_failures(failed: dict[int, str]) -> str:
    """Return the errors of ranks in words, each error once.

    >>> describe_failures({1: "OSError: no space", 2: "OSError: no space"})
    'ranks 1, 2: OSError: no space'
    """
    groups: dict[str, list[int]] = {}
    for rank, words in failed.items():
        groups.setdefault(words, []).append(rank)
    return "; ".join(f"{_ranks_text(ranks)}: {words}" for words, ranks in groups.items())


def describe_error(error: BaseException) -> str:
    """Return an error in words, with its type unless it is a ``RankError``."""
    return str(error) if isinstance(error, RankError) else f"{type(error).__name__}: {error}"


def _ranks_text(ranks: list[int]) -> str:
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {', '.join(map(str, ranks))}"


def _digest(value: object) -> list[float]:
    data = hashlib.sha256(json.dumps(value).encode()).digest()
    parts = [int.from_bytes(data[start : start + 4], "little") % (1 << DIGEST_BITS) for start in (0, 4)]
    return [float(number) for part in parts for number in (part, part * part)]


def _encode_bytes(data: bytes) -> list[float]:
    starts = range(0, len(data), BYTES_PER_VALUE)
    return [float(int.from_bytes(data[start : start + BYTES_PER_VALUE], "little")) for start in starts]
