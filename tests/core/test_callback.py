"""Callbacks are values: equal, hashable, frozen, and the same after being written and read."""

import json
import pickle
import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

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
        initial_value_threshold=st.none() | finite,
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
        "EarlyStopping(monitor='val_loss', verbose=0, mode='auto', min_delta=0.0, patience=0, baseline=None, "
        "restore_best_weights=False, start_from_epoch=0, smoothing=None)"
    )
    assert repr(ReduceLROnPlateau()) == (
        "ReduceLROnPlateau(monitor='val_loss', verbose=0, mode='auto', factor=0.1, patience=10, min_delta=0.0001, "
        "cooldown=0, min_lr=0.0)"
    )
    assert repr(ModelCheckpoint("x")) == (
        "ModelCheckpoint(monitor='val_loss', verbose=0, mode='auto', filepath='x', save_best_only=False, "
        "save_weights_only=False, save_freq='epoch', initial_value_threshold=None, keep=None, keep_last=None, "
        "save_last=False, save_on=('signal',), on_error='raise', background=None)"
    )


@pytest.mark.parametrize(
    ("make", "sentences"),
    [
        (
            lambda: ModelCheckpoint(filpath="x"),
            ["filpath: unknown option; did you mean 'filepath'?", "filepath is required"],
        ),
        (lambda: EarlyStopping(patiance=3), ["patiance: unknown option; did you mean 'patience'?"]),
        (lambda: EarlyStopping(patience=-1, mode="MAX"), ["patience=-1", "did you mean 'max'?"]),
        (lambda: EarlyStopping(patience=1.5), ["patience=1.5"]),
        (lambda: EarlyStopping(3), ["takes only options by name", "patience"]),
        (lambda: EarlyStopping(monitor=""), ["monitor=''"]),
        (lambda: EarlyStopping(baseline=float("nan")), ["baseline=nan: input should be a finite number"]),
        (lambda: EarlyStopping(verbose=3), ["verbose=3"]),
        (lambda: ReduceLROnPlateau(factor=1.0), ["factor=1.0: input should be less than 1"]),
        (lambda: ReduceLROnPlateau(factor=0), ["factor=0: input should be greater than 0"]),
        (lambda: ReduceLROnPlateau(min_lr=-1, cooldown=-1), ["min_lr=-1", "cooldown=-1"]),
        (lambda: ReduceLROnPlateau(epsilon=1), ["epsilon: unknown option"]),
        (lambda: ModelCheckpoint("x", save_freq=True), ['save_freq=True: give "epoch", a number of batches']),
        (lambda: ModelCheckpoint("x", save_freq=0), ["save_freq=0: give"]),
        (lambda: ModelCheckpoint(5), ["filepath=5: input should be a valid string"]),
        (lambda: ModelCheckpoint("x", save_freq="batch"), ["save_freq='batch': give", '"2 epochs"']),
        (lambda: ModelCheckpoint("x", save_freq="0 steps"), ["save_freq='0 steps': give"]),
        (lambda: ModelCheckpoint("x", save_freq="ten minutes"), ["save_freq='ten minutes': give", '"10 minutes"']),
        (lambda: ModelCheckpoint("x", keep=0, keep_last=-1), ["keep=0", "keep_last=-1"]),
        (lambda: ModelCheckpoint("x", keep=2), ["keep=2: filepath='x' gives", "put {epoch} or {step} into it"]),
        (lambda: ModelCheckpoint("{{x}}", keep_last=2), ["keep_last=2: filepath='{{x}}' gives"]),
        (lambda: ModelCheckpoint("x", keep=1, keep_last=1), ["keep_last=1: filepath='x' gives"]),
        (lambda: ModelCheckpoint("a/last.pt", save_last=True), ["save_last=True: this would write 'a/last.pt'"]),
        (lambda: ModelCheckpoint("end", save_on=("end",)), ["save_on=('end',): this would write 'end'"]),
        (lambda: ModelCheckpoint("x", save_on=("ends",)), ["did you mean 'end'?"]),
        (lambda: ModelCheckpoint("{epoch.real}"), ["a field is one name with a number format"]),
        (lambda: ModelCheckpoint("x", filepath="y"), ["filepath is given twice"]),
        (lambda: ModelCheckpoint("x", "val_loss"), ["takes only filepath by position"]),
    ],
)
def test_wrong_options_are_refused_all_at_once_with_the_fix(make: Any, sentences: list[str]) -> None:
    """Every wrong option is named when it is written, with what it should be."""
    with pytest.raises(SettingsError) as raised:
        make()

    for sentence in sentences:
        assert sentence in str(raised.value)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, trainbus.TrainbusError)


def test_callbacks_are_frozen() -> None:
    """An option cannot be changed afterwards."""
    with pytest.raises(ValueError, match="frozen"):
        EarlyStopping().patience = 3  # type: ignore[misc]


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


def test_a_checkpoint_that_saves_always_needs_no_direction() -> None:
    """Without save_best_only the monitored metric does not matter."""
    assert not list(ModelCheckpoint("x", monitor="grad_norm").validate_for(trainbus.testing.LineSubject()))
