"""Metric values as numbers: when they are fetched from a device, and what they equal later."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus.metrics.running_means import RunningMeans
from trainbus.metrics.scalars import DeviceScalars, as_number, deferred_scalars, fetch_together, to_scalars

from .forms import FINITE, FORMS, MASKED, NOT_NUMBERS


class Far(torch.Tensor):
    """A tensor that claims to be on another device, and counts how often it is waited for."""

    waits = 0
    is_cpu = False  # type: ignore[assignment]

    def item(self) -> Any:
        Far.waits += 1
        return super().item()

    def tolist(self) -> Any:
        Far.waits += 1
        return super().tolist()


@given(values=st.lists(FINITE, min_size=1, max_size=9), vectors=st.integers(0, 2))
def test_reading_all_means_waits_for_a_device_once(values: list[float], vectors: int) -> None:
    """Any number of single numbers on a device is fetched at once, with the values of reading one by one."""
    means = RunningMeans()
    for number, value in enumerate(values):
        means.add(f"far {number}", torch.tensor(value).as_subclass(Far), 3)
        means.add(f"near {number}", value)
    for number in range(vectors):
        means.add(f"vector {number}", torch.ones(2).as_subclass(Far))
    one_by_one = {name: means[name] for name in means if "vector" not in name}
    for read in (
        means.read,
        lambda: to_scalars(means),
        lambda: to_scalars({name: means._sums[name][0] for name in means}),
    ):
        Far.waits = 0
        found = read()
        assert Far.waits == 1
        assert list(found) == list(means if read == means.read else one_by_one)
    assert {name: means.read()[name] for name in one_by_one} == one_by_one == to_scalars(means)


@given(values=st.lists(FINITE, min_size=1, max_size=5), logged=st.lists(FINITE, max_size=5), name=st.text("ab"))
def test_numbers_of_several_sources_come_in_one_go(values: list[float], logged: list[float], name: str) -> None:
    """Numbers on a device are copied when they are taken, and fetched together when they are read."""
    Far.waits = 0
    rates = {f"rate {number}": torch.tensor(value).as_subclass(Far) for number, value in enumerate(values)}
    expected: dict[str, Any] = {each: float(rate.as_subclass(torch.Tensor)) for each, rate in rates.items()}
    taken, alone, means = DeviceScalars(rates), DeviceScalars(rates), RunningMeans()
    for rate in rates.values():
        rate.fill_(-1.0)
    for number, value in enumerate(logged):
        means.add(f"mean {number}", torch.tensor(value, dtype=torch.float64).as_subclass(Far))
        expected[f"mean {number}"] = value
    given = {name: "as it is"}
    assert (len(taken), list(taken), Far.waits) == (len(values), list(rates), 0)
    assert fetch_together(taken, means, given) == {**expected, **given}
    assert Far.waits == 1
    assert alone == {each: expected[each] for each in rates}
    assert Far.waits == 2
    assert fetch_together(alone) == dict(alone) == eval(repr(alone))
    assert Far.waits == 2


@given(value=st.integers(-(2**53), 2**53))
def test_integers_up_to_double_precision_are_exact(value: int) -> None:
    """A count of tokens, say, is not rounded."""
    for number in (value, np.int64(value), torch.tensor(value)):
        means = RunningMeans()
        means.add("tokens", number)
        assert means["tokens"] == value
        assert as_number(number) == value


@pytest.mark.parametrize("value", [*NOT_NUMBERS, *MASKED, None, np.ones(2)], ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_not_read_as_one(value: Any) -> None:
    """Text, times, truth values and masked values are left out, even if Python could make a float of them."""
    with pytest.raises(TypeError):
        as_number(value)
    assert to_scalars({"loss": 1.0, "other": value}) == {"loss": 1.0}


LARGE = "1" + "0" * 199 + r"\.\.\. is too large; the largest number of a metric is 1\.8e\+308"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (10**400, LARGE),
        (np.array([10**400], dtype=object), LARGE),
        (-(10**5000), r"an int of more than 4,300 digits is too large"),
        (Fraction(10**400), r"Fraction\(1000.* is too large"),
        (Decimal("sNaN"), "a value of type Decimal is not a number"),
        ([1.0], "a value of type list is not a number"),
        (object(), "a value of type object is not a number"),
        (np.float64, "<class 'numpy.float64'> is not a number"),
        (float, "<class 'float'> is not a number"),
    ],
    ids=["int", "object array", "huge int", "Fraction", "sNaN", "list", "object", "np.float64", "float"],
)
def test_what_no_float_can_be_is_refused_in_plain_words(value: Any, problem: str) -> None:
    """A number that is too large is not called "no number"; a long one is cut."""
    with pytest.raises(TypeError, match=f"^{problem}") as raised:
        as_number(value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("form", FORMS)
@given(value=FINITE)
def test_a_number_in_any_form_is_read(form: str, value: float) -> None:
    """Every form of a number is read exactly."""
    assert as_number(FORMS[form](value)) == value


LOGGED = st.lists(
    st.tuples(st.sampled_from("abc"), FINITE, st.sampled_from(sorted(FORMS)), st.sampled_from(["mean", "max", "sum"])),
    max_size=6,
)


@given(before=LOGGED, after=LOGGED, plain=st.booleans())
def test_deferred_scalars_keep_their_values(before: Any, after: Any, plain: bool) -> None:
    """Computed later, in another thread, they have the values of now, even if metrics were logged or cleared."""
    means = RunningMeans()

    def log(logged: Any) -> None:
        for name, value, form, reduce in logged:
            means.add(f"{name}-{reduce}", value if plain else FORMS[form](value), 3, reduce)

    log(before)
    if before and not plain:
        means.add("vector", np.ones(2))
    expected, then, of_dict = to_scalars(means), deferred_scalars(means), deferred_scalars(logs := dict(means))
    sums = means.sums()
    log(after)
    means.merge(sums)
    logs["later"] = 1.0
    with ThreadPoolExecutor() as pool:
        assert pool.submit(then).result() == pool.submit(of_dict).result() == expected
    means.clear()
    assert (then(), to_scalars(means)) == (expected, {})
    means.load_sums(sums)
    assert to_scalars(means) == expected
