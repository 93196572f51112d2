"""A loop over batches continues after the samples that were trained on, whatever the batches and ranks then and now."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainbus.resume.loaders.loop_size import LoopSize, continuation

few = st.integers(1, 5)


def size_of(samples: int, ranks: int, batch_size: int, *, shares: bool) -> LoopSize:
    """Return the size of a loop over so many samples, of which each rank's loader gives its share or all."""
    own = math.ceil(samples / ranks) if shares else samples
    return LoopSize(ranks, math.ceil(own / batch_size), batch_size)


@given(st.integers(1, 500), few, few, few, few, st.integers(0, 500))
def test_with_a_distributed_sampler_no_sample_is_left_out(
    samples: int, then: int, now: int, batch: int, other: int, done: int
) -> None:
    """And none is trained on twice without one line that says how many are."""
    before, after = size_of(samples, then, batch, shares=True), size_of(samples, now, other, shares=True)
    assert before.batches is not None
    done %= before.batches

    batches, problem = continuation(done, before, after, in_turn=True)

    trained, passed = done * batch * then, batches * other * now
    assert passed <= trained < passed + other * now
    assert bool(problem) == (passed != trained)
    if problem:
        assert problem.endswith(f": {trained - passed} sample{'s' * (trained - passed != 1)} will be trained on twice")


@given(st.integers(300, 2000), few, few, few, few, st.integers(0, 500), st.booleans())
def test_the_numbers_of_batches_show_whether_each_rank_has_all_samples(
    samples: int, then: int, now: int, batch: int, other: int, done: int, shares: bool
) -> None:
    """Without a known sampler; that shares are taken in turn is said to be assumed."""
    before, after = size_of(samples, then, batch, shares=shares), size_of(samples, now, other, shares=shares)
    assert before.batches is not None
    assert after.batches is not None
    assume(min(before.batches, after.batches) > 12)
    done %= before.batches

    batches, problem = continuation(done, before, after)

    trained = done * batch * (then if shares else 1)
    passed = batches * other * (now if shares else 1)
    assert passed <= trained < passed + other * (now if shares else 1)
    if shares and then != now:
        assert "only a DistributedSampler shows which samples each rank had" in problem
    else:
        assert bool(problem) == (passed != trained)


@pytest.mark.parametrize(
    ("then", "now", "batches", "problem"),
    [
        (LoopSize(4), LoopSize(4), 3, ""),
        (LoopSize(2, 8, 4), LoopSize(2, 9, 4), 3, ""),
        (LoopSize(1, 8, 4), LoopSize(1, 16, 2), 6, ""),
        (LoopSize(1, 8, 4), LoopSize(1, 4, 8), 1, "4 samples will be trained on twice"),
        (LoopSize(4, 8), LoopSize(2, 8), 3, ""),
        (LoopSize(4, 8), LoopSize(2, 16), 6, "only a DistributedSampler"),
        (LoopSize(4, 8), LoopSize(2, 32), 12, "the numbers of batches do not show"),
        (LoopSize(4, 8, 4), LoopSize(2, 50, 4), 6, "the numbers of batches do not show"),
        (LoopSize(4), LoopSize(1), 12, "the loader has no size"),
        (LoopSize(4, None, 4), LoopSize(1, None, 8), 6, "the loader has no size"),
        (LoopSize(2, 2), LoopSize(1, 2), 2, ""),
        (LoopSize(4, 3, 4), LoopSize(2, 7, 4), 7, ""),
        (LoopSize(3, 0), LoopSize(2, 0), 4, "the loader has no size"),
    ],
)
def test_what_cannot_be_known_is_one_line(then: LoopSize, now: LoopSize, batches: int, problem: str) -> None:
    """As few as the sizes show; a loop that was complete stays complete."""
    found = continuation(3, then, now)

    assert found.batches == batches
    assert problem in found.problem
    assert bool(found.problem) == bool(problem)
    assert "\n" not in found.problem


def test_a_line_names_both_sizes() -> None:
    found = continuation(1, LoopSize(1, 12, 4), LoopSize(3, 8, 2), in_turn=True)
    assert found.problem == (
        "the run had trained on 1 batch of 4 samples on 1 rank, and the loop continues after 0 batches of 2 samples "
        "on 3 ranks: 4 samples will be trained on twice"
    )
