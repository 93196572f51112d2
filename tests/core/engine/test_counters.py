"""A loop reads the same counters whether or not a plugin listens to batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus import LoopError, Run, SettingsError
from trainbus.testing import EventRecorder


class Epoch(NamedTuple):
    """One loop over batches: how many there are and how it is left at which."""

    batches: int
    accumulate: int | None
    leave: Literal["", "break", "stop", "loader fails"]
    at: int


epochs = st.builds(
    Epoch,
    st.integers(0, 7),
    st.sampled_from([1, 2, 3, None]),
    st.sampled_from(["", "break", "stop", "loader fails"]),
    st.integers(0, 7),
)


def loader(epoch: Epoch) -> Iterator[int]:
    for number in range(epoch.batches):
        if epoch.leave == "loader fails" and number == epoch.at:
            raise OSError("the disk is gone")
        yield number


def counted(listener: object, planned: list[Epoch]) -> list[tuple[object, ...]]:
    """What the loop reads from its run, wherever it can look."""
    seen: list[tuple[object, ...]] = []
    with Run(callbacks=[listener]) as run:
        for number in run.epochs(len(planned)):
            epoch = planned[number]
            try:
                for item in run.batches(loader(epoch), accumulate=epoch.accumulate):
                    if epoch.accumulate is None:
                        run.step += 2
                    seen.append((item, run.batch, run.step))
                    if epoch.leave == "break" and item == epoch.at:
                        break
                    if epoch.leave == "stop" and item == epoch.at:
                        run.stop("enough")
            except OSError:
                seen.append(("failed", run.step))
            else:
                seen.append(("ended", run.batch, run.step, run.stopped))
    return seen


@given(st.lists(epochs, max_size=4))
@example([Epoch(5, 2, "break", 3), Epoch(5, 3, "", 0)])
def test_counters_are_the_same_whoever_listens(planned: list[Epoch]) -> None:
    """`batch` and `step` read alike in the body and after the loop, also where it was left early."""
    by_epochs, by_ends, by_begins = (
        counted(EventRecorder(hook), planned) for hook in ("on_epoch_end", "on_batch_end", "on_batch_begin")
    )
    assert by_epochs == by_ends == by_begins


@given(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=5), st.integers(0, 6))
def test_a_step_is_counted_once_in_so_many_batches(accumulates: list[int], batches: int) -> None:
    """Over all loops, batches that fill no update at the end of one are not carried into the next."""
    with Run() as run:
        run.begin_epoch(0)
        for accumulate in accumulates:
            for item in run.batches(range(batches), accumulate=accumulate):
                assert run.batch == item
    assert run.step == sum(batches // accumulate for accumulate in accumulates)


@given(st.integers(0, 5), st.integers(0, 3))
def test_a_step_that_the_loop_counts_is_added(batches: int, more: int) -> None:
    """Setting `step` inside a loop shifts it, and counting goes on from there."""
    with Run() as run:
        for _ in run.batches(range(batches)):
            before = run.step
            run.step += more
            assert run.step == before + more
    assert run.step == batches * (1 + more)


@pytest.mark.parametrize("accumulate", [1, None])
@pytest.mark.parametrize("hook", ["on_epoch_end", "on_batch_end"])
def test_loops_side_by_side_both_count(hook: str, accumulate: int | None) -> None:
    """Two loaders in one loop, as adversarial training has them: each counts the updates that it was told of."""
    with Run(callbacks=[EventRecorder(hook)]) as run:
        seen = [run.step for _ in zip(run.batches("abc"), run.batches("xyz", accumulate=accumulate), strict=True)]
        both = 2 if accumulate else 1
        assert seen == [0, both, 2 * both]
        assert run.step == 3 * both


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_batch_end"])
def test_a_loop_inside_a_loop_counts_for_itself(hook: str) -> None:
    """Inner batches count beside the outer one's."""
    with Run(callbacks=[EventRecorder(hook)]) as run:
        seen = [[run.step for _ in run.batches(range(2))] for _ in run.batches(range(3))]
    assert seen == [[0, 1], [3, 4], [6, 7]]
    assert run.step == 9


def test_batches_belong_inside_the_run() -> None:
    """A loop outside is refused when it is written, not at its first batch."""
    with pytest.raises(LoopError, match="inside `with run:`"):
        Run().batches([1, 2])


@pytest.mark.parametrize("accumulate", [0, -1])
def test_no_update_takes_less_than_a_batch(accumulate: int) -> None:
    """A number of batches below 1 is refused."""
    with Run() as run, pytest.raises(SettingsError, match=f"accumulate={accumulate}"):
        run.batches([1, 2], accumulate=accumulate)
