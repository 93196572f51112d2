"""Columns of values in the order of writing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.columns import Column, align_by_epoch, still_valid

columns = st.lists(st.tuples(st.integers(0, 8), st.floats(allow_nan=False)), max_size=12)


@given(st.dictionaries(st.sampled_from("abc"), columns))
def test_the_last_written_value_of_an_epoch_counts(written: dict[str, list[tuple[int, float]]]):
    """All epochs are unique and rising; each metric has its last value there, or is not logged."""
    given_columns = {
        name: Column(np.array([epoch for epoch, _ in pairs], np.int64), np.array([value for _, value in pairs]))
        for name, pairs in written.items()
    }
    epochs, metrics = align_by_epoch(given_columns)

    assert epochs.tolist() == sorted({epoch for pairs in written.values() for epoch, _ in pairs})
    assert list(metrics) == list(written)
    for name, pairs in written.items():
        values, logged = metrics[name]
        assert dict(zip(epochs[logged].tolist(), values[logged].tolist(), strict=True)) == dict(pairs)
        assert np.isnan(values[~logged]).all()


def test_a_logged_nan_differs_from_an_epoch_without_a_value():
    """Both have a value of NaN, but only the first is logged."""
    nan = Column(np.array([0]), np.array([np.nan]))
    _, metrics = align_by_epoch({"a": nan, "b": Column(np.array([1]), np.array([2.0]))})

    assert metrics["a"].logged.tolist() == [True, False]
    assert np.isnan(metrics["a"].values).all()


@given(st.lists(st.integers(-3, 8), max_size=15))
def test_a_jump_back_voids_what_it_replaces(steps: list[int]):
    """A step is void if and only if a later one jumps back to it or to before it."""
    expected = [
        not any(steps[later] <= step and steps[later] < steps[later - 1] for later in range(place + 1, len(steps)))
        for place, step in enumerate(steps)
    ]
    for kind in (np.int64, np.float64):
        assert still_valid(np.array(steps, kind)).tolist() == expected


@given(st.lists(st.integers(0, 9)))
def test_valid_steps_never_fall(steps: list[int]):
    """A run without a jump keeps all steps, also equal ones."""
    kept = np.array(steps, np.int64)[still_valid(np.array(steps, np.int64))]

    assert (np.diff(kept) >= 0).all()
    assert still_valid(np.array(sorted(steps), np.int64)).all()
