"""Running means: what they equal, what they keep alive, what is refused, what waits."""

import gc
import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.metrics import running_means
from trainbus.metrics.running_means import RunningMeans
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.resume.serialization import from_json_data, to_json_data
from trainbus.testing import LineSubject, scripted

from .forms import FINITE, FORMS, MASKED, NOT_NUMBERS

SAMPLES = st.lists(st.tuples(FINITE, st.integers(1, 1000)), min_size=1, max_size=20)


@pytest.mark.parametrize("form", FORMS)
@given(samples=SAMPLES)
def test_a_mean_is_weighted_by_count(form: str, samples: list[tuple[float, int]]) -> None:
    """Whatever form the values come in, their mean is NumPy's weighted average of them in double precision."""
    means = RunningMeans()
    for value, count in samples:
        means.add("loss", FORMS[form](value), count)

    values, counts = zip(*samples, strict=True)
    assert type(means["loss"]) is float
    assert means["loss"] == pytest.approx(np.average(values, weights=counts), rel=1e-12, abs=1e-9)


@given(value=st.floats(width=32, allow_nan=False))
def test_one_value_is_its_own_mean(value: float) -> None:
    """A value logged once is the metric, bit by bit, even if it is infinite."""
    for form in (float, np.float32, torch.tensor):
        means = RunningMeans()
        means.add("loss", form(value))
        assert means["loss"] == value


def test_bfloat16_is_averaged_in_double_precision() -> None:
    """The values are rounded to bfloat16 by the loop; their sum is not."""
    means = RunningMeans()
    for _ in range(1000):
        means.add("loss", torch.tensor(1.0078125, dtype=torch.bfloat16))

    assert means["loss"] == 1.0078125


@pytest.mark.parametrize(
    "nan", [math.nan, np.float32("nan"), torch.tensor(math.nan)], ids=lambda nan: type(nan).__name__
)
def test_nan_makes_the_mean_nan(nan: Any) -> None:
    """A NaN is not hidden among other values."""
    means = RunningMeans()
    means.add("loss", 1.0)
    means.add("loss", nan)

    assert math.isnan(means["loss"])


@given(samples=st.lists(st.tuples(st.lists(FINITE, min_size=3, max_size=3), st.integers(1, 9)), min_size=1))
def test_vectors_are_averaged_element_by_element(samples: list[tuple[list[float], int]]) -> None:
    """The mean of vectors is a vector, in double precision, of the kind that was logged."""
    for form in (np.float32, torch.tensor):
        means = RunningMeans()
        for vector, count in samples:
            means.add("recall", np.array(vector, "float32") if form is np.float32 else torch.tensor(vector), count)

        vectors, counts = zip(*samples, strict=True)
        assert isinstance(means["recall"], np.ndarray if form is np.float32 else torch.Tensor)
        np.testing.assert_allclose(means["recall"], np.average(vectors, axis=0, weights=counts), atol=1e-6)


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda value: f"{type(value).__name__}")
def test_a_value_that_is_not_a_number_is_refused(value: Any) -> None:
    """Text, times, truth values, complex numbers and lists are refused by name, and leave nothing behind."""
    means = RunningMeans()
    with pytest.raises(SettingsError, match="correct"):
        means.add("correct", value)

    assert not means


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\x00", "tab\t"], ids=repr)
def test_names_that_would_garble_a_terminal_are_refused(name: str) -> None:
    """Line breaks and escape sequences are refused when they are logged, by the loop and by a framework."""
    with Run(None, verbose=0) as run:
        for _ in run.epochs(1):
            with pytest.raises(SettingsError, match="is not a valid metric name"):
                run.log({name: 1.0})
    with pytest.raises(SettingsError, match="is not a valid metric name"), Run(None, verbose=0) as run:
        run.begin_epoch(0)
        run.end_epoch({name: 1.0})


@settings(max_examples=10)
@given(values=st.lists(st.sampled_from([0.5, 0.25, 1.5, 2.0, 1024.0, float("nan"), float("inf")]), min_size=1))
def test_decisions_do_not_depend_on_the_form_of_a_number(values: list[float]) -> None:
    """Numbers of Python, NumPy and PyTorch, of any width and any number of axes, stop and reduce in the same way."""
    callbacks = [EarlyStopping(monitor="loss", patience=2), ReduceLROnPlateau(monitor="loss", patience=1)]
    results = [
        scripted([{"loss": form(value)} for value in values], callbacks, LineSubject())[1] for form in FORMS.values()
    ]

    assert all(each == results[0] for each in results)


def test_bfloat16_is_reported_once_and_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """If a monitored metric is bfloat16, which hides small improvements, one line says so; otherwise none."""
    history = [{"loss": torch.tensor(value, dtype=torch.bfloat16), "fine": torch.tensor(value)} for value in (2.0, 1.0)]
    scripted(history, [EarlyStopping(monitor="fine", mode="min")])
    assert not caplog.records
    scripted(history, [EarlyStopping(monitor="loss"), ReduceLROnPlateau(monitor="loss", patience=1)], LineSubject())

    assert [record.getMessage()[:28] for record in caplog.records] == ["'loss' is logged in bfloat16"]


@pytest.mark.parametrize("value", MASKED, ids=repr)
def test_a_masked_value_is_skipped(value: Any) -> None:
    """What NumPy has marked as missing is not taken for the number behind the mask."""
    means = RunningMeans()
    means.add("loss", value)
    assert not means
    means.add("loss", 2.0)
    means.add("loss", value)

    assert dict(means) == {"loss": 2.0}


def test_masked_elements_of_a_vector_are_nan() -> None:
    """A class without samples has no recall, and the others keep theirs."""
    means = RunningMeans()
    means.add("recall", np.ma.masked_array([0.5, 0.0], mask=[False, True]))

    np.testing.assert_array_equal(means["recall"], [0.5, math.nan])


@pytest.mark.parametrize(
    "count",
    [0, -1, math.nan, math.inf, -math.inf, 10**400, np.inf, torch.tensor(0), torch.tensor(math.inf), *NOT_NUMBERS[4:]],
    ids=lambda count: f"{type(count).__name__}",
)
def test_a_count_is_a_finite_number_above_zero(count: Any) -> None:
    """A weight that makes every mean NaN, or is no number, is refused."""
    with pytest.raises(SettingsError, match="samples"):
        RunningMeans().add("loss", 1.0, count)


def test_a_count_that_is_a_tensor_stays_as_it_is() -> None:
    """Summing the counts never changes the loop's own tensor."""
    means, count = RunningMeans(), torch.tensor(2)
    means.add("loss", 1.0, count)
    means.add("loss", 4.0, 1)

    assert (count.item(), means["loss"]) == (2, 2.0)


def test_none_is_skipped() -> None:
    """A metric that was not computed this time changes nothing."""
    means = RunningMeans()
    means.add("loss", None)
    means.add("loss", 2.0)
    means.add("loss", None)

    assert dict(means) == {"loss": 2.0}


@given(
    logged=st.lists(st.tuples(st.sampled_from("ab"), st.none() | FINITE), max_size=8),
    more=st.lists(st.tuples(st.sampled_from("ab"), st.none() | FINITE), max_size=8),
)
def test_a_metric_that_was_only_logged_as_none_is_known(logged: Any, more: Any) -> None:
    """Also after a resume, and together with what another rank has logged."""
    means, other = RunningMeans(), RunningMeans()
    for each, values in ((means, logged), (other, more)):
        for name, value in values:
            each.add(name, value)
        assert set(each) == {name for name, value in values if value is not None}
        assert set(each.without_value) == {name for name, _ in values} - set(each)
    loaded = _stored_and_loaded(means)
    assert (dict(loaded), loaded.without_value) == (dict(means), means.without_value)
    loaded.merge(other.sums())
    assert set(loaded) == set(means) | set(other)
    assert set(loaded.without_value) == {name for name, _ in logged + more} - set(loaded)
    loaded.clear()
    assert not loaded.sums()


@pytest.mark.covering(1)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "min", None])
@settings(max_examples=settings.default.max_examples // 2)  # of each form and reduction
@given(rounds=st.lists(st.dictionaries(st.sampled_from(["val_a", "val/b", "a"]), st.lists(FINITE, max_size=2))))
def test_after_a_restart_a_metric_is_measured_anew(form: str, reduce: Any, rounds: list[dict[str, Any]]) -> None:
    """Each has the values since the restart before it was last logged; what is not of a validation has all."""
    means, train, last = RunningMeans(), RunningMeans(), dict[str, Any]()
    for logged in rounds:
        means.restart_validation()
        alone = RunningMeans()
        for name, values in logged.items():
            for value in values:
                for each in (means, alone if name.startswith("val") else train):
                    each.add(name, FORMS[form](value), 2, reduce=reduce)
        means = _stored_and_loaded(means)
        last |= alone
        assert means.read_validation() == dict(alone)
    assert {name: means[name] for name in means} == dict(means) == means.read() == last | dict(train)
    assert (len(means), all(name in means for name in last)) == (len(last) + len(train), True)
    joined = RunningMeans()
    joined.merge(means.sums())
    assert dict(joined) == dict(means)
    means.clear()
    assert not means
    assert not means.sums()


def test_none_after_a_restart_keeps_what_was_measured_before() -> None:
    """The last validation that measured the metric counts."""
    means, other = RunningMeans(), RunningMeans()
    means.add("val_f1", 0.5)
    means.restart_validation()
    means.add("val_f1", None)
    other.add("val_f1", None)
    other.merge(means.sums())
    for each in (means, other, _stored_and_loaded(means)):
        assert (dict(each), each.without_value) == ({"val_f1": 0.5}, {})


def test_a_metric_has_one_reduction_before_and_after_a_restart() -> None:
    """Otherwise its values before and after could not be compared."""
    means = RunningMeans()
    means.add("val_loss", 1.0)
    means.restart_validation()
    with pytest.raises(SettingsError, match="reduce='mean' before, now with reduce='max'"):
        means.add("val_loss", 1.0, reduce="max")
    assert dict(means) == {"val_loss": 1.0}


def test_logging_keeps_no_autograd_graph_alive() -> None:
    """Once the loop drops a loss, its graph is freed, whether it was a scalar, a vector or on another device."""
    means = RunningMeans()
    here = torch.ones(3, requires_grad=True)
    elsewhere = torch.ones((), device="meta", requires_grad=True)
    for _ in range(2):
        for name, loss in {"scalar": (here * 2).sum(), "vector": here * 2, "elsewhere": elsewhere * 2}.items():
            means.add(name, loss)
    leaves = [weakref.ref(here), weakref.ref(elsewhere)]  # a graph holds the leaves that it leads to
    del here, elsewhere, loss
    gc.collect()

    assert [leaf() for leaf in leaves] == [None, None]


def test_adding_never_waits_for_a_device() -> None:
    """A tensor elsewhere than on the CPU is only summed: the meta device, which has no values, raises when read."""
    means = RunningMeans()
    means.add("loss", torch.ones((), device="meta", requires_grad=True), 3)
    means.add("loss", torch.ones((), device="meta"), 3)

    assert list(means) == ["loss"]
    with pytest.raises(RuntimeError, match="meta"):
        means["loss"]


def test_a_name_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again in every epoch."""
    checked: list[str] = []
    monkeypatch.setattr(running_means, "check_name", checked.append)
    means = RunningMeans()
    for _ in range(3):
        for name in ("loss", "accuracy"):
            means.add(name, 1.0)
            means.add(name, 2.0)
        means.clear()

    assert checked == ["loss", "accuracy"]


def _stored_and_loaded(means: RunningMeans) -> RunningMeans:
    loaded = RunningMeans()
    loaded.load_sums(from_json_data(to_json_data(means.sums())))
    return loaded


@pytest.mark.covering(1)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "min", None])
@settings(max_examples=settings.default.max_examples // 2)  # of each form and reduction
@given(before=st.lists(FINITE, min_size=1, max_size=4), after=st.lists(FINITE, min_size=1, max_size=4))
def test_sums_of_a_checkpoint_continue_as_if_they_had_stayed(
    form: str, reduce: Any, before: list[float], after: list[float]
) -> None:
    """A checkpoint stores sums as numbers and arrays; values of every form, numbers and vectors, are added to them."""
    for shape in ((), (2,)):
        unbroken, resumed = RunningMeans(), RunningMeans()
        for means in (unbroken, resumed):
            for value in before:
                means.add("m", FORMS[form](value) if shape == () else np.full(shape, value), reduce=reduce)
        resumed = _stored_and_loaded(resumed)
        for means in (unbroken, resumed):
            for value in after:
                means.add("m", FORMS[form](value) if shape == () else torch.full(shape, value), reduce=reduce)
        assert np.array_equal(unbroken["m"], resumed["m"], equal_nan=True)


@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "min"])
@pytest.mark.parametrize("shape", [(), (3,)], ids=["number", "vector"])
@pytest.mark.parametrize("stored", [float, np.float64, np.asarray], ids=["float", "scalar", "array"])
def test_sums_of_a_checkpoint_continue_on_the_device_of_the_next_value(reduce: Any, shape: Any, stored: Any) -> None:
    """NumPy cannot add a tensor of a device; on the meta device, which has no values, any wait would fail."""
    means = RunningMeans()
    total = np.ones(shape) if shape else stored(1.0)
    means.load_sums({"m": (total, 1) if reduce == "mean" else (total, 1, reduce)})
    for _ in range(2):
        means.add("m", torch.ones(shape, device="meta"), reduce=reduce)
    mean = means.on_device()["m"]
    assert (mean.device.type, mean.shape) == ("meta", torch.Size(shape))


@pytest.mark.parametrize(
    "entry",
    [
        *([], [1.0], [1.0, 1, "mean", 2], 3, None, "ab", {}, ["nan", 1], [None, 1], [[1.0], 1], [{}, 1], [True, 1]),
        *([1.0, -1], [1.0, float("nan")], [1.0, float("inf")], [1.0, "1"], [1.0, True], [1.0, None], [1.0, 10**400]),
        *([10**400, 1], [1.0, 1, "median"], [1.0, 1, []], [np.array(["a"]), 1]),
    ],
    ids=str,
)
def test_damaged_sums_are_refused_and_change_nothing(entry: Any) -> None:
    """The error names the metric; other values of the same mapping are not taken."""
    means = RunningMeans()
    means.add("loss", 2.0)
    with pytest.raises(ValueError, match=r"^the sum of 'wrong' is damaged$"):
        means.load_sums({"good": (1.0, 1), "wrong": entry})
    assert dict(means) == {"loss": 2.0}


@pytest.mark.parametrize("name", ["\0x\0loss", "\0-1\0loss", "\0" + "9" * 30 + "\0loss", "\0\0loss", "a\nb", ""])
def test_sums_of_damaged_names_are_refused(name: str) -> None:
    """Such as a restart that has no number."""
    with pytest.raises(ValueError, match=r"^the sum of .* is damaged$"):
        RunningMeans().load_sums({name: (1.0, 1)})
