"""Callbacks are values: equal, hashable, frozen, and the same after being written and read."""

import json
import pickle
import re
import tomllib
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Annotated, Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BeforeValidator

import trainbus.testing
from trainbus import Callback, SettingsError, UnknownDirection, callbacks_from
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard

monitored = {
    "monitor": st.sampled_from(["val_loss", "accuracy"]),
    "mode": st.sampled_from(["auto", "min", "max"]),
    "verbose": st.sampled_from(["auto", 0, 1, 2]),
}
finite = st.floats(-1e6, 1e6)


def built(kind: type[Callback], needed: dict[str, Any], **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Callbacks of one kind with any of their options."""
    return st.fixed_dictionaries(needed, optional=options).map(lambda given: kind(**given))


callbacks = st.one_of(
    built(
        EarlyStopping,
        {},
        **monitored,
        min_delta=finite,
        patience=st.integers(0, 99),
        baseline=st.none() | finite,
        restore_best_weights=st.booleans(),
        start_from_epoch=st.integers(0, 9),
    ),
    built(
        ReduceLROnPlateau,
        {},
        **monitored,
        factor=st.floats(0.01, 0.99),
        patience=st.integers(0, 9),
        min_delta=finite,
        cooldown=st.integers(0, 9),
        min_lr=st.floats(0, 1),
    ),
    built(
        ModelCheckpoint,
        {"filepath": st.sampled_from(["m-{epoch}", "m-{epoch:02d}.pt"])},
        **monitored,
        save_best_only=st.booleans(),
        save_weights_only=st.booleans(),
        save_freq=st.sampled_from(["epoch", "2 epochs", "1 step", "10 minutes"]) | st.integers(1, 99),
        keep=st.none() | st.integers(1, 9),
        keep_last=st.none() | st.integers(1, 9),
        save_last=st.booleans(),
        save_on=st.sets(st.sampled_from(["end", "exception"])).map(tuple),
    ),
    built(TensorBoard, {}, log_dir=st.sampled_from(["logs", "runs/1"])),
)


@given(callbacks)
def test_a_callback_survives_json_toml_pickle_and_plain_data(callback: Callback) -> None:
    """A callback that is serialized and loaded in any way is equal and has an equal hash."""
    plain = callback.settings()
    back = [
        *callbacks_from([plain]),
        *callbacks_from(json.loads(json.dumps([plain]))),
        *callbacks_from(tomllib.loads(tomli_w.dumps({"callbacks": [plain]}))["callbacks"]),
        type(callback).model_validate_json(callback.model_dump_json()),
        pickle.loads(pickle.dumps(callback)),
        eval(repr(callback)),
    ]

    for each in back:
        assert each == callback
        assert hash(each) == hash(callback)


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau, ModelCheckpoint, TensorBoard])
def test_the_json_schema_describes_every_option(kind: type[Callback]) -> None:
    """Editors that read the schema can complete and explain every option."""
    properties = kind.model_json_schema()["properties"]

    assert set(properties) == set(kind.model_fields)
    assert all(each.get("description") for each in properties.values())


def test_defaults_are_those_of_keras() -> None:
    """Options that are not given have Keras's values."""
    assert repr(EarlyStopping()) == (
        "EarlyStopping(monitor='val_loss', verbose=0, mode='auto', min_delta=0.0, min_delta_mode=None, "
        "cumulative_delta=True, ties='older', tie_breaker=None, tie_breaker_mode='auto', every='epoch', "
        "value='mean', stop_when='any', patience=0, baseline=None, stopping_threshold=None, "
        "divergence_threshold=None, check_finite=False, min_epochs=0, min_steps=0, reset_on_lr_cut=False, "
        "restore_best_weights=False, start_from_epoch=0, smoothing=None)"
    )
    assert repr(ReduceLROnPlateau()) == (
        "ReduceLROnPlateau(monitor='val_loss', verbose=0, mode='auto', min_delta=0.0001, min_delta_mode=None, "
        "cumulative_delta=True, ties='older', tie_breaker=None, tie_breaker_mode='auto', every='epoch', "
        "value='mean', factor=0.1, patience=10, cooldown=0, rule='keras', min_lr=0.0, groups=None, eps=0.0)"
    )
    assert repr(ModelCheckpoint("x")) == (
        "ModelCheckpoint(monitor='val_loss', verbose=0, mode='auto', filepath='x', save_best_only=False, "
        "save_weights_only=False, save_freq='epoch', initial_value_threshold=None, keep=None, ties='older', "
        "tie_breaker=None, tie_breaker_mode='auto', keep_last=None, save_last=False, save_on=('signal',), "
        "content=None, existing='replace', on_error='raise', background=None)"
    )


@pytest.mark.parametrize(
    ("callback", "name", "value", "sentence"),
    [
        (
            EarlyStopping(),
            "patience",
            3,
            "patience cannot be set: callbacks are immutable; make a new one: EarlyStopping(patience=3",
        ),
        (EarlyStopping(), "monitor", "loss", "make a new one: EarlyStopping(monitor='loss', ...)"),
        (EarlyStopping(), "patiense", 3, "EarlyStopping: patiense: unknown option; did you mean 'patience'?"),
        (EarlyStopping(), "best", 0.5, "EarlyStopping: best: unknown option"),
        (ModelCheckpoint("m"), "filepath", "x", "make a new one: ModelCheckpoint(filepath='x', ...)"),
        (ReduceLROnPlateau(), "min_lr", 1e-3, "make a new one: ReduceLROnPlateau(min_lr=0.001, ...)"),
        (TensorBoard(), "log_dir", "x", "make a new one: TensorBoard(log_dir='x', ...)"),
    ],
)
def test_an_option_cannot_be_changed_afterwards(callback: Callback, name: str, value: Any, sentence: str) -> None:
    """The error says in one line what to write instead, and nothing has changed."""
    before = callback.settings()
    with pytest.raises(SettingsError) as raised:
        setattr(callback, name, value)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(SettingsError, match="cannot be deleted"):
        delattr(callback, name)
    assert callback.settings() == before


@pytest.mark.parametrize("name", ["best", "wait", "stopped_epoch", "best_model_path", "model", "history"])
def test_a_callback_knows_nothing_of_the_run(name: str) -> None:
    """As Keras's do; the error says where it is instead."""
    with pytest.raises(AttributeError, match=f"EarlyStopping has no '{name}': .* run.result"):
        getattr(EarlyStopping(), name)
    assert getattr(EarlyStopping(), name, 7) == 7


NUMBERS = {
    EarlyStopping: ["min_delta", "patience", "baseline", "start_from_epoch"],
    ReduceLROnPlateau: ["factor", "patience", "min_delta", "cooldown", "min_lr"],
    partial(ModelCheckpoint, "m-{epoch}"): ["initial_value_threshold", "keep", "keep_last"],
    TensorBoard: ["histogram_freq", "batch_size", "embeddings_freq", "max_images"],
}
TRUTHS = {
    EarlyStopping: ["restore_best_weights"],
    partial(ModelCheckpoint, "m"): ["save_best_only", "save_weights_only", "save_last", "background"],
    TensorBoard: ["write_graph", "write_images", "write_grads", "write_steps_per_second"],
}


@pytest.mark.parametrize(("make", "name"), [(make, name) for make, names in NUMBERS.items() for name in names])
@pytest.mark.parametrize("value", ["3", "0.5", "1e-3", "auto", "", True, False])
@pytest.mark.covering(1)
def test_text_and_truth_values_are_no_numbers(make: Any, name: str, value: Any) -> None:
    """Python's own functions convert neither; a setting that was meant as another is found at once."""
    what = "text" if isinstance(value, str) else "a bool"
    with pytest.raises(SettingsError, match=rf"{name}={re.escape(repr(value))}: give a (whole )?number.*, not {what}"):
        make(**{name: value})


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2020-01-01"),
        np.datetime64(3, "ns"),
        np.timedelta64(3, "s"),
        timedelta(seconds=3),
        np.ma.masked,
        np.ma.array([3.0], mask=[True]),
        np.array(["3"]),
        np.array("3"),
        np.array(b"3"),
        np.array([1.0, 2.0]),
        np.array([]),
        np.array([None]),
        np.bool_(True),
        np.array([True]),
        b"3",
        bytearray(b"3"),
        3 + 0j,
        [3],
        {3},
        pytest.param(object(), id="object"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    ("make", "name"), [(EarlyStopping, "baseline"), (ReduceLROnPlateau, "factor"), (EarlyStopping, "patience")]
)
@pytest.mark.covering(1)
def test_what_is_no_number_as_a_metric_is_none_as_a_setting(make: Any, name: str, value: Any) -> None:
    """Times, masked values, text in arrays, several values: refused in one line that says what to give."""
    with pytest.raises(
        SettingsError, match=rf"{name}=.*: give a (whole )?number.*, not (a value of type|text|a truth)"
    ) as raised:
        make(**{name: value})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.array(0.5), np.array([0.5]), np.array([[0.5]]), Decimal("0.5"), Fraction(1, 2)]
)
def test_a_single_number_of_any_kind_is_a_setting(value: Any) -> None:
    """As it is a metric; it becomes a number of Python, so that callbacks stay comparable and printable."""
    assert ReduceLROnPlateau(factor=value) == ReduceLROnPlateau(factor=0.5)
    assert EarlyStopping(patience=value * 4) == EarlyStopping(patience=2)
    assert type(EarlyStopping(baseline=value).baseline) is float
    with pytest.raises(SettingsError, match="patience="):
        EarlyStopping(patience=value)


@pytest.mark.parametrize(("make", "name"), [(make, name) for make, names in TRUTHS.items() for name in names])
@pytest.mark.parametrize("value", ["yes", "true", "False", "0", ""])
def test_text_is_no_truth_value(make: Any, name: str, value: str) -> None:
    """The text "False" is true in most languages, and false in others."""
    with pytest.raises(SettingsError, match=rf"{name}='{value}': give True or False.*, not text"):
        make(**{name: value})


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3.0)])
def test_numbers_of_any_kind_are_numbers(value: Any) -> None:
    """As NumPy and TOML have them."""
    assert EarlyStopping(patience=value, min_delta=value) == EarlyStopping(patience=3, min_delta=3)


def test_an_option_of_a_stranger_may_convert_text() -> None:
    """With a validator of its own, or if it takes text as well."""

    class Percent(Callback):
        share: Annotated[float, BeforeValidator(lambda text: float(str(text).rstrip("%")) / 100)] = 0.5
        level: int | str = 1

    assert Percent(share="20%", level="high").model_dump() == {"share": 0.2, "level": "high"}


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau, ModelCheckpoint, TensorBoard])
def test_the_names_of_other_libraries_are_none_of_ours(kind: type[Callback]) -> None:
    """And what they are said to mean is an option, a callback, an option of the run, or nothing, for a reason."""
    assert not kind.elsewhere.keys() & kind.model_fields.keys()
    known = {*kind.model_fields, "EarlyStopping", "Run"}
    assert all(
        set(re.findall(r"\w+", meant)) & known or re.match(r"nothing: \w", meant) for meant in kind.elsewhere.values()
    )


def test_the_sign_of_min_delta_does_not_matter() -> None:
    """As in Keras, the absolute value of min_delta counts."""
    assert EarlyStopping(min_delta=-0.5) == EarlyStopping(min_delta=0.5)


def test_true_and_false_are_verbose_levels() -> None:
    """verbose=True is 1, as people write it for Keras."""
    assert EarlyStopping(verbose=True) == EarlyStopping(verbose=1)


def test_an_unknown_direction_is_refused_before_training() -> None:
    """A name without a known direction is refused with a sentence that names mode=, unless the mode is given."""
    with pytest.raises(UnknownDirection, match=r"EarlyStopping.*mode="):
        trainbus.Run(callbacks=EarlyStopping(monitor="grad_norm"))
    trainbus.Run(callbacks=EarlyStopping(monitor="grad_norm", mode="min"))


@pytest.mark.parametrize("name", ["val_acuracy", "val_los", "valid/Precison"])
def test_a_slip_in_the_name_of_a_metric_is_named_before_training(name: str) -> None:
    """Before the advice to write the mode, which would let the slip through."""
    with pytest.raises(UnknownDirection, match=f"^EarlyStopping: '{name}' is not a known metric; did you mean"):
        trainbus.Run(None, EarlyStopping(monitor=name))


def test_a_checkpoint_that_saves_always_needs_no_direction() -> None:
    """Without save_best_only the monitored metric does not matter."""
    assert not list(ModelCheckpoint("x", monitor="grad_norm").validate_for(trainbus.testing.LineSubject()))


@pytest.mark.parametrize(
    "value", [2**63, 10**30, 10**5000, -(2**63), -(10**30)], ids=["2^63", "10^30", "10^5000", "-2^63", "-10^30"]
)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (EarlyStopping, "patience"),
        (EarlyStopping, "start_from_epoch"),
        (EarlyStopping, "min_delta"),
        (ReduceLROnPlateau, "cooldown"),
        (ReduceLROnPlateau, "min_lr"),
        (partial(ModelCheckpoint, "m-{epoch}"), "keep"),
        (partial(ModelCheckpoint, "m-{epoch}"), "save_freq"),
        (partial(TensorBoard, "logs"), "histogram_freq"),
        (partial(TensorBoard, "logs"), "update_freq"),
    ],
    ids=str,
)
def test_an_integer_of_more_than_64_bits_is_no_option(make: Any, name: str, value: int) -> None:
    """TOML and arrays have none; one line names the bound."""
    with pytest.raises(SettingsError, match=rf"{name}=.*: give a number of at (most|least) -?9,223,372,0") as raised:
        make(**{name: value})
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_the_largest_integer_is_an_option() -> None:
    """It survives TOML."""
    callback = EarlyStopping(patience=2**63 - 1)
    assert tomllib.loads(tomli_w.dumps(callback.settings()))["patience"] == callback.patience
