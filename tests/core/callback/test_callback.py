"""Callbacks are values: equal, hashable, frozen, and the same after being written and read."""

import json
import pickle
import re
import tomllib
from functools import partial
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Callback, SettingsError, callbacks_from
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
