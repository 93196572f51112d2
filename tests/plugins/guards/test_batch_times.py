"""The share of the time between batches is the wait for data; a validation is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run
from trainbus.plugins.guards import batch_times
from trainbus.plugins.guards.batch_times import BatchTimes

SECONDS = st.integers(0, 100).map(float)


@given(st.lists(st.tuples(SECONDS, SECONDS, st.none() | SECONDS), max_size=12))
def test_the_share_is_the_wait_over_the_whole(batches: list[tuple[float, float, float | None]]) -> None:
    """Each batch is waited for, trained, and may be followed by a validation."""
    times, now = BatchTimes(), [50.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_times, "perf_counter", lambda: now[0])
        times.on_epoch_begin()
        for wait, train, validation in batches:
            now[0] += wait
            times.on_batch_begin()
            now[0] += train
            times.on_batch_end()
            if validation is not None:
                times.on_validation_begin()
                now[0] += validation
                times.on_validation_end()
        found = times.read(Run())
    waits, total = sum(each[0] for each in batches), sum(each[0] + each[1] for each in batches)

    if total:
        assert found == {"data_wait_share": waits / total, "batches_per_second": len(batches) / total}
    else:
        assert found == {}


@pytest.mark.parametrize("counts", [[8, 8, 3], [1, 1, 1], [4], []])
def test_samples_are_counted_where_the_loop_logs_their_number(counts: list[int]) -> None:
    times, found = BatchTimes(), {}
    with Run(callbacks=Listens(times)) as run:
        for _ in run.epochs(1):
            for count in run.batches(counts):
                run.log(loss=1.0, count=count)
            found = dict(times.read(run))

    assert ("samples_per_second" in found) == (sum(counts) > len(counts))
    if sum(counts) > len(counts):
        assert found["samples_per_second"] / found["batches_per_second"] == pytest.approx(sum(counts) / len(counts))


class Listens:
    """Lets a run call the times."""

    critical = False

    def __init__(self, times: Any) -> None:
        self.on_epoch_begin, self.on_batch_begin, self.on_batch_end = (
            times.on_epoch_begin,
            times.on_batch_begin,
            times.on_batch_end,
        )
