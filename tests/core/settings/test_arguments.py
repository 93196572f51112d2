"""A wrong argument is named with the right one, and nothing changes for a call that fits."""

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.settings.arguments import check_metrics, check_validation_freq, checked, mismatch, whole_number


@checked("train", "give one model")
def train(model: Any, *, epochs: int = 1, callbacks: Any = ()) -> tuple[Any, int, Any]:
    """Train."""
    if model == "broken":
        raise TypeError("from inside")
    return model, epochs, callbacks


class Holder:
    @checked("Holder")
    def __init__(self, model: Any, size: int = 3) -> None:
        self.given = model, size


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: train(1, epoch=3), "train: unknown argument 'epoch'; did you mean 'epochs'? arguments: model, epochs"),
        (lambda: train(1, callback=[]), "did you mean 'callbacks'?"),
        (lambda: train(1, banana=2), "train: unknown argument 'banana'. arguments: model, epochs, callbacks"),
        (lambda: train(1, 2, 3), "train takes only model by position, but 3 were given; give one model"),
        (train, "train: the argument 'model' is missing; give it: train(model)"),
        (lambda: train(1, model=2), "train: the argument 'model' is given twice"),
        (lambda: Holder(1, siz=2), "Holder: unknown argument 'siz'; did you mean 'size'? arguments: model, size"),
        (lambda: Holder(1, 2, 3), "Holder takes only model, size by position, but 3 were given; leave the others out"),
        (Holder, "Holder: the argument 'model' is missing"),
    ],
)
def test_a_call_that_does_not_fit_names_the_argument(call: Any, sentence: str) -> None:
    """In one line, with the nearest right name, as for the options of a callback."""
    with pytest.raises(SettingsError) as raised:
        call()
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_call_that_fits_is_as_it_was() -> None:
    """The same result, the same signature and docstring, and a TypeError from inside stays one."""
    assert train(1, epochs=2) == (1, 2, ())
    assert Holder(1).given == (1, 3)
    assert list(inspect.signature(train).parameters) == ["model", "epochs", "callbacks"]
    assert train.__doc__ == "Train."
    with pytest.raises(TypeError, match="from inside"):
        train("broken")


names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(st.lists(names, max_size=4), st.dictionaries(names, st.none(), max_size=4))
def test_a_mismatch_is_found_exactly_where_python_finds_one(given_: list[str], named: dict[str, None]) -> None:
    """For arguments by position and by name, right and wrong ones."""

    def function(alpha: Any, beta: Any = 1, *, gamma: Any, delta: Any = 2) -> None: ...

    try:
        inspect.signature(function).bind(*given_, **named)
        fits = True
    except TypeError:
        fits = False
    assert (mismatch(function, given_, named, "function") == "") == fits


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.uint8(3), np.float64(3.0)])
def test_a_whole_number_may_be_of_any_kind(value: Any) -> None:
    """Integers of NumPy and floats without a fraction are taken, as an int."""
    assert whole_number("epochs", value, 0) == 3
    assert type(whole_number("epochs", value, 0)) is int


@pytest.mark.parametrize(
    "value", ["3", "three", 2.5, -1, None, True, [3], float("nan"), float("inf"), np.float32(2.5), 3j, b"3"]
)
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    """Text, fractions, truth values, infinities and numbers below the least one."""
    with pytest.raises(SettingsError, match=r"^epochs=.*: give a whole number of at least 0") as raised:
        whole_number("epochs", value, 0)
    assert ("not text" in str(raised.value)) == isinstance(value, str)


@pytest.mark.parametrize("value", [1, 7, np.int32(2), [1, 5], (2,), {3}, [], range(1, 9, 2), np.array([1, 2])])
def test_a_validation_frequency_may_be_a_number_or_epochs(value: Any) -> None:
    """As in Keras; no epochs at all means that none has a validation."""
    check_validation_freq(value)


@pytest.mark.parametrize("value", [0, -1, "1", "epoch", 1.5, None, True, [0, 2], ["1"], [[1]], b"1"])
def test_other_validation_frequencies_are_refused(value: Any) -> None:
    """Before they divide by zero, or mean no epoch at all."""
    with pytest.raises(SettingsError, match=r"validation_freq=.*: give n for every n-th epoch"):
        check_validation_freq(value)


@pytest.mark.parametrize("key", [3, None, ("a",), b"loss", 1.5, True])
def test_metrics_have_text_as_names(key: Any) -> None:
    """Each other key is named, with a text that could take its place."""
    with pytest.raises(SettingsError, match=r"the metric .* has no text as its name; give one, such as"):
        check_metrics({"loss": 1.0, key: 2.0})


@pytest.mark.parametrize("metrics", ["loss", [1.0], [("loss", 1.0)], 0.5, ("loss", 1.0), None, np.ones(2)])
def test_metrics_are_a_mapping(metrics: Any) -> None:
    """Anything else is refused with the two forms that work."""
    with pytest.raises(SettingsError, match=r"not a mapping; write name=value, or \{name: value\}"):
        check_metrics(metrics)
