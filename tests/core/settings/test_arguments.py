"""A wrong argument is named with the right one, and nothing changes for a call that fits."""

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError, watch
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import partial_fit
from trainbus.settings.arguments import check_metrics, check_validation_freq, checked, mismatch, whole_number
from trainbus.testing import LineSubject


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
        (lambda: train(1, model=2), "train: the argument 'model' is given twice; give it once"),
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


@pytest.mark.parametrize("value", [2**53 + 1, 10**30, 10**5000, 1e30, np.uint64(2**64 - 1)], ids="abcde")
def test_a_whole_number_has_a_limit(value: Any) -> None:
    """Readers take no others; double precision is exact up to it."""
    with pytest.raises(SettingsError, match=r"^epochs=.*: give a number of at most 9,007,199,254,740,992$"):
        whole_number("epochs", value, 0)


@pytest.mark.parametrize("value", [1, 7, np.int32(2), [1, 5], (2,), {3}, [], range(1, 9, 2), np.array([1, 2])])
def test_a_validation_frequency_may_be_a_number_or_epochs(value: Any) -> None:
    """As in Keras; no epochs at all means that none has a validation."""
    check_validation_freq(value)


@pytest.mark.parametrize("value", [0, -1, "1", "epoch", 1.5, None, True, [0, 2], ["1"], [[1]], b"1"])
def test_other_validation_frequencies_are_refused(value: Any) -> None:
    """Before they divide by zero, or mean no epoch at all."""
    with pytest.raises(
        SettingsError, match=r"validation_freq=.*: give a number of at least 1 to validate every n-th epoch"
    ):
        check_validation_freq(value)


@pytest.mark.parametrize("key", [3, None, ("a",), b"loss", 1.5, True])
def test_metrics_have_text_as_names(key: Any) -> None:
    """Each other key is named, with a text that could take its place."""
    with pytest.raises(SettingsError, match=r"the metric .* has a name that is not text; give text, such as"):
        check_metrics({"loss": 1.0, key: 2.0})


@pytest.mark.parametrize("metrics", ["loss", [1.0], [("loss", 1.0)], 0.5, ("loss", 1.0), None, np.ones(2)])
def test_metrics_are_a_mapping(metrics: Any) -> None:
    """Anything else is refused with the two forms that work."""
    with pytest.raises(SettingsError, match=r"not a mapping; write name=value, or \{name: value\}"):
        check_metrics(metrics)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda run: run.log("loss", 1.0), "log takes one mapping by position, but 2 arguments were given; write log("),
        (lambda run: run.log("loss", np.float32(1)), "write log(loss=value)"),
        (lambda run: run.log("val/mAP@0.5", 0.25), "write log({'val/mAP@0.5': 0.25})"),
        (lambda run: run.log({"loss": 1.0}, 32), "write log(metrics, count=32)"),
        (lambda run: run.log({"a": 1.0}, {"b": 1.0}), "write log({**first, **second})"),
        (lambda run: run.log("loss", 1.0, 3), "but 3 arguments were given"),
        (lambda run: run.log("loss"), "metrics are str, not a mapping; write name=value"),
        (lambda run: run.log([("loss", 1.0)]), "metrics are list, not a mapping"),
        (lambda run: run.log({"": 1.0}), "'' is an empty metric name; give a name, such as 'loss'"),
        (lambda run: run.log({" ": 1.0}), "' ' is an empty metric name"),
        (lambda run: run.stop(), "stop: the argument 'reason' is missing; give it: stop(reason)"),
        (lambda run: run.stop(None), "stop: reason=None: give text that says why"),
        (lambda run: run.stop(3), "stop: reason=3: give text that says why"),
        (lambda run: run.stop(because="x"), "stop: unknown argument 'because'. arguments: reason"),
        (lambda run: run.batches(), "batches: the argument 'loader' is missing"),
        (lambda run: run.batches([1], [2]), "iterate over several loaders at once as in run.batches(zip(a, b))"),
        (lambda run: run.batches([1], steps=2), "batches: unknown argument 'steps'"),
        (lambda run: run.batches([1], 4), "batches takes only loader by position, but 2 were given"),
        (lambda run: run.epochs(1, 3), "epochs takes only epochs by position, but 2 were given"),
        (lambda run: run.epochs(3, start=1), "epochs: unknown argument 'start'"),
        (lambda run: run.validation("test"), "the prefix is val_"),
        (lambda run: run.validation(name="test"), "validation: unknown argument 'name'"),
        (lambda run: run.decide(), "decide: the argument 'decision' is missing"),
        (lambda run: run.decide(1, 2), "join decisions by |"),
        (lambda run: run.begin_epoch(), "begin_epoch: the argument 'epoch' is missing"),
        (lambda run: run.begin_epoch("1"), "epoch='1': give a whole number of at least 0, not text"),
        (lambda run: run.begin_epoch(-1), "epoch=-1: give a whole number of at least 0"),
        (lambda run: run.end_epoch(loss=1.0), 'give metrics as one mapping: end_epoch({"loss": 1.0})'),
        (lambda run: run.end_epoch(0.0), "metrics are float, not a mapping"),
        (lambda run: run.end_validation(val_loss=1.0), 'end_validation({"val_loss": 1.0})'),
        (lambda run: run.end_validation(1.0), "metrics are float, not a mapping"),
        (lambda run: run.monitor(), "monitor: the argument 'metric' is missing"),
        (lambda run: run.monitor(3), "3 is not a metric name"),
        (lambda run: run.monitor("loss", "low"), "mode='low' of 'loss': give 'min', 'max' or 'auto'"),
        (lambda run: run.monitor("loss", direction="min"), "monitor: unknown argument 'direction'"),
        (lambda run: run.count_batches(), "count_batches: the argument 'batches' is missing"),
        (lambda run: run.count_batches(1, 2), "count_batches takes only batches by position, but 2 were given"),
        (lambda run: run.count_batches(batch=1), "count_batches: unknown argument 'batch'; did you mean 'batches'?"),
        (lambda run: run.go_on(3), "go_on takes no argument by position, but 1 was given; leave the others out"),
        (lambda run: run.go_on(epochs=3), "go_on: unknown argument 'epochs'"),
        (lambda run: run.report_failure(run), "report_failure: the argument 'lost' is missing"),
        (lambda run: run.report_failure(run, "x", error=KeyError(), why=""), "report_failure: unknown argument 'why'"),
        (lambda run: run.report_failure(run, "x", KeyError(), 1), "takes only plugin, lost, error by position"),
        (lambda run: run.at_end(3), "at_end(3): give a function without arguments"),
        (lambda run: run.end("failed"), "end('failed'): give the exception that ended the loop, or nothing"),
    ],
)
def test_each_wrong_call_of_a_run_is_one_line_with_the_right_one(call: Any, sentence: str) -> None:
    """At once, and the run goes on as if nothing had been called."""
    with Run() as run:
        for _ in run.epochs(1):
            with pytest.raises(SettingsError) as raised:
                call(run)
            run.log(loss=1.0)

    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert run.history == {"loss": [1.0]}


@pytest.mark.parametrize(
    ("function", "wrong", "meant"),
    [
        (Run, "progress", "verbose"),
        (Run, "progress_bar", "verbose"),
        (Run, "enable_progress_bar", "verbose"),
        (Run, "silent", "verbose"),
        (Run, "loggers", "callbacks"),
        (Run, "plugins", "callbacks"),
        (Run, "ckpt_path", "resume"),
        (Run, "resume_from_checkpoint", "resume"),
        (watch, "progress", "verbose"),
        (KerasCallback, "progress", "verbose"),
        (KerasCallback, "checkpoint", "resume"),
        (partial_fit, "n_epochs", "epochs"),
        (partial_fit, "eval_set", "validation_data"),
        (partial_fit, "metrics", "scoring"),
    ],
)
def test_an_argument_of_another_library_names_the_one_here(function: Any, wrong: str, meant: str) -> None:
    """No advice on something else follows."""
    with pytest.raises(
        SettingsError, match=rf"unknown argument {wrong!r}; did you mean {meant!r}\? arguments: [\w, ]*$"
    ):
        function(**({"model": LineSubject()} if function is watch else {}), **{wrong: True})
