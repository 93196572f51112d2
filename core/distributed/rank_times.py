"""How long each rank was busy in an epoch, and which one is slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from ..engine.run_state import RankTime

SLOWER = 1.25
"""A rank is slow if it was busy this many times as long as the median of the others ..."""
COMPUTES_MORE = 1.5
"""... or if its training thread computed this many times as long, although all ranks took equally long, ..."""
LEAST_SHARE = 0.3
"""... and it computed for this share of that time: the others wait for it in the collectives of each batch."""
LEAST_SECONDS = 0.1
"""The difference is at least this long."""


class EpochClock:
    """Measures the time of this rank in an epoch.

    Args:
        waited: Returns the seconds that this rank has waited for others so far.
    """

    def __init__(self, waited: Callable[[], float]) -> None:
        self._waited = waited
        self.begin()

    def begin(self) -> None:
        """Begin an epoch."""
        self._thread = threading.get_ident()
        self._computed, self._passed = time.thread_time(), time.perf_counter()
        self._waits = self._waited()

    def read(self) -> RankTime:
        """Return the time since the epoch began."""
        busy = time.perf_counter() - self._passed - (self._waited() - self._waits)
        same = self._thread == threading.get_ident()
        return RankTime(max(busy, 0.0), time.thread_time() - self._computed if same else 0.0)


def row_of(own: RankTime, rank: int, size: int) -> list[float]:
    """Return the numbers of this rank; the sum over all ranks holds the times of each.

    >>> row_of(RankTime(3.0, 2.0), 1, 2)
    [0.0, 0.0, 3.0, 2.0]
    """
    row = [0.0] * (2 * size)
    row[2 * rank : 2 * rank + 2] = own
    return row


def times_in(row: Sequence[float]) -> tuple[RankTime, ...]:
    """Return the time of each rank in a sum of rows."""
    return tuple(RankTime(*row[start : start + 2]) for start in range(0, len(row), 2))


def slow_rank(times: Sequence[RankTime], unit: str = "epoch") -> tuple[int, str] | None:
    """Return the rank that is slow by a clear margin, and a report in words; None if there is none.

    >>> slow_rank([RankTime(2.0, 1.0), RankTime(2.0, 1.0), RankTime(4.0, 1.0)])
    (2, 'rank 2 is slow: it was busy for 4.0 s of the epoch, the median of the others for 2.0 s')
    >>> slow_rank([RankTime(4.0, 1.0), RankTime(4.0, 3.8), RankTime(4.0, 1.2)])
    (1, 'rank 1 is slow: it computed for 3.8 s of the epoch, the median of the others for 1.1 s')
    """
    if len(times) < 2:
        return None
    for values, margin, did in (
        ([each.busy for each in times], SLOWER, "was busy"),
        ([each.computed for each in times], COMPUTES_MORE, "computed"),
    ):
        most = max(values)
        rank = values.index(most)
        usual = median(values[:rank] + values[rank + 1 :])
        clear = most > margin * usual and most - usual >= LEAST_SECONDS
        if clear and (did == "was busy" or most >= LEAST_SHARE * times[rank].busy):
            where = f"it {did} for {most:.1f} s of the {'epoch' if unit == 'epoch' else 'steps up to a validation'}"
            return rank, f"rank {rank} is slow: {where}, the median of the others for {usual:.1f} s"
    return None


def stats_of(times: Sequence[RankTime]) -> Mapping[str, float]:
    """Return the times of the epoch for charts and journals, in constant size.

    >>> stats_of([RankTime(2.0, 1.0), RankTime(4.0, 1.5)])
    {'slowest_rank': 1.0, 'rank_seconds_max': 4.0, 'rank_seconds_median': 3.0, 'rank_compute_seconds_max': 1.5}
    """
    if not times:
        return {}
    busy, computed = [each.busy for each in times], [each.computed for each in times]
    slow = slow_rank(times)
    return {
        "slowest_rank": float(busy.index(max(busy)) if slow is None else slow[0]),
        "rank_seconds_max": max(busy),
        "rank_seconds_median": median(busy),
        "rank_compute_seconds_max": max(computed),
    }
