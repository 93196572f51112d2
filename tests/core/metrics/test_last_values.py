"""What running means know besides the means: the last values, and whether a metric has a new value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.metrics.running_means import RunningMeans
from trainbus.resume.serialization import from_json_data, to_json_data

REDUCED = {"loss": "mean", "val_loss": "mean", "tokens": "sum", "peak": "max", "val_least": "min", "first": None}
logged = st.tuples(st.sampled_from(list(REDUCED)), st.floats(0.1, 9), st.integers(1, 9))
validations = st.tuples(st.lists(logged, max_size=4), st.booleans())
"""What is logged in a validation, and whether it is completed."""
happenings = st.lists(logged | validations, max_size=12)


def log(means: RunningMeans, name: str, value: float, count: int) -> None:
    means.add(name, value, count, REDUCED[name])


def apply(means: RunningMeans, what: Any) -> tuple[set[str], bool]:
    """Let one thing happen; return the metrics that have got a value, and whether it counts."""
    if isinstance(what[0], str):
        log(means, *what)
        return {what[0]}, True
    values, complete = what
    means.restart_validation()
    for each in values:
        log(means, *each)
    means.end_validation() if complete else means.discard_validation()
    return {name for name, *_ in values}, complete


def reloaded(means: RunningMeans) -> RunningMeans:
    """Return the means as a resumed run has them."""
    other = RunningMeans()
    other.keep_last()
    other.load_sums(from_json_data(to_json_data(means.sums())))
    return other


@given(happenings)
def test_a_stamp_changes_exactly_with_a_new_value(happened: list[Any]) -> None:
    """Whatever the reduction, and whatever other metrics get; a broken-off validation brings back the stamp before."""
    means = RunningMeans()
    means.keep_last()
    for what in happened:
        before = {name: means.stamp(name) for name in means}
        new, counts = apply(means, what)
        for name in means:
            changed = means.stamp(name) != before.get(name)
            if name.startswith("val_") and not counts:
                assert not changed or isinstance(what[0], str)
            else:
                assert changed == (name in new)


@given(happenings, st.integers(0, 12))
def test_a_resumed_run_has_the_same_stamps_and_last_values(happened: list[Any], broken: int) -> None:
    """Wherever the run is broken: also in the bits of a last value with many samples."""
    means = other = RunningMeans()
    means.keep_last()
    for number, what in enumerate(happened):
        if number == broken:
            other = reloaded(means)
        apply(means, what)
        if other is not means:
            apply(other, what)
    assert {name: other.stamp(name) for name in other} == {name: means.stamp(name) for name in means}
    assert other.last_values() == means.last_values()
    assert dict(other) == dict(means)


def test_validations_of_equal_size_differ_after_a_resume() -> None:
    """The number of the validation is saved, so the second after a resume is not taken for the first."""
    means = RunningMeans()
    means.restart_validation()
    means.add("val_loss", 1.0, 8)
    means.end_validation()
    seen = means.stamp("val_loss")
    later = reloaded(means)
    assert later.stamp("val_loss") == seen
    later.restart_validation()
    assert later.stamp("val_loss") == seen
    later.add("val_loss", 1.0, 8)

    assert later.stamp("val_loss") != seen


def test_a_validation_of_other_metrics_is_no_new_value() -> None:
    """The validation metric that it does not log keeps its value and its stamp."""
    means = RunningMeans()
    means.restart_validation()
    means.add("val_loss", 1.0)
    means.end_validation()
    seen = means.stamp("val_loss")
    means.restart_validation()
    means.add("val_f1", 0.5)

    assert means.stamp("val_loss") == seen
    assert means["val_loss"] == 1.0


def test_the_last_value_of_a_validation_metric_is_its_mean() -> None:
    """All batches of a validation measure one state of the model."""
    means = RunningMeans()
    means.keep_last()
    for value in (3.0, 1.0):
        means.add("loss", value)
        means.add("val_loss", value)

    assert means.last_values() == {"loss": 1.0, "val_loss": 2.0}


@pytest.mark.parametrize(("reduce", "expected"), [("mean", 2.5), ("sum", 4.0), ("max", 3.0), ("min", 1.0), (None, 1.0)])
def test_last_values_of_ranks_are_reduced_as_the_metric_is(reduce: Any, expected: float) -> None:
    """Means are weighted by samples; with None, rank 0's counts."""
    ranks = []
    for values, count in (((9.0, 1.0), 1), ((8.0, 3.0), 3)):
        means = RunningMeans()
        means.keep_last()
        for value in values:
            means.add("score", value, count, reduce)
        ranks.append(means)
    joined = RunningMeans()
    joined.load_sums(ranks[0].sums())
    joined.merge(ranks[1].sums())

    assert joined.last_values() == {"score": expected}


@pytest.mark.parametrize("value", [None, float("nan")])
def test_none_is_no_value_and_nan_is_one(value: float | None) -> None:
    """None leaves the last value and the stamp as they are."""
    means = RunningMeans()
    means.keep_last()
    means.add("loss", 2.0)
    seen = means.stamp("loss")
    means.add("loss", value)

    assert (means.stamp("loss") == seen) == (value is None)
    assert str(means.last_values()["loss"]) == ("2.0" if value is None else "nan")


def test_nothing_is_kept_unless_asked_for() -> None:
    """A run without such a callback has no further cost."""
    means = RunningMeans()
    means.add("loss", 1.0)

    assert means.last_values() == {}
    assert [*means.sums()] == ["loss"]


def test_an_epoch_begins_without_last_values() -> None:
    """As it begins without means."""
    means = RunningMeans()
    means.keep_last()
    means.add("loss", 1.0)
    means.clear()

    assert means.last_values() == {}
    means.add("loss", 3.0)
    assert means.last_values() == {"loss": 3.0}
