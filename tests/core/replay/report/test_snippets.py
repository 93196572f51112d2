"""Callbacks as Python code to paste."""

from __future__ import annotations

import ast
import re
from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay.libraries.settings import LIBRARIES, find_library, translate
from trainbus.replay.report.snippets import format_call, format_callback

from ..recorded import deltas

monitors = st.sampled_from(["val_loss", 'a"b', "a\\b", "é", "val acc"])
stoppers = st.builds(
    EarlyStopping,
    monitor=monitors,
    mode=st.sampled_from(["auto", "min", "max"]),
    patience=st.integers(0, 9),
    min_delta=deltas,
    baseline=st.none() | st.floats(0, 1),
    smoothing=st.sampled_from([None, "ema 0.5"]),
)


@given(stoppers)
def test_a_call_makes_the_callback_again(callback: EarlyStopping) -> None:
    """The code for trainbus has the options that differ from their defaults, and evaluates to an equal callback."""
    code = format_call(callback, "trainbus")

    assert eval(code, {"EarlyStopping": EarlyStopping}) == callback
    assert ("min_delta" in code) is (callback.min_delta != 0)
    assert format_call(callback, "torch") == code


@given(monitors, st.integers(1, 9), st.sampled_from([0.0, 0.25]))
def test_a_call_for_keras_makes_keras_s_callback(monitor: str, patience: int, delta: float) -> None:
    """The code runs with Keras itself."""
    options: dict[str, Any] = {"monitor": monitor, "mode": "min", "patience": patience, "min_delta": delta}
    code = format_call(translate(find_library("keras"), EarlyStopping(**options)), "keras")  # type: ignore[arg-type]
    made = eval(code, {"keras": keras})

    assert type(made) is keras.callbacks.EarlyStopping
    assert (made.monitor, made.patience, abs(made.min_delta)) == (monitor, patience, delta)


@pytest.mark.parametrize("library", LIBRARIES)
@given(monitor=monitors, patience=st.integers(1, 9))
def test_a_call_for_each_library_is_python(library: Any, monitor: str, patience: int) -> None:
    """The code parses, names EarlyStopping, and has the metric as a literal."""
    callback = translate(find_library(library), EarlyStopping(monitor=monitor, mode="min", patience=patience))
    call = ast.parse(format_call(callback, library), mode="eval").body  # type: ignore[arg-type]

    assert isinstance(call, ast.Call)
    options = {each.arg: each.value for each in call.keywords}
    if library == "hf":  # its other options are those of TrainingArguments
        assert ast.unparse(call.func).endswith("EarlyStoppingCallback")
        assert ast.literal_eval(options.get("early_stopping_patience") or ast.Constant(1)) == patience
        assert "metric_for_best_model=" in format_call(callback, library)
        return
    assert ast.unparse(call.func).endswith("EarlyStopping")
    assert ast.literal_eval(options.get("patience") or ast.Constant(3)) == patience  # Lightning's default is 3
    literals = [each.value for each in ast.walk(call) if isinstance(each, ast.Constant)]
    assert monitor in literals
    assert ("monitor" in options) is (library != "ignite")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_callback_has_one_name_in_all_libraries(library: str) -> None:
    """A report names EarlyStopping and ReduceLROnPlateau, not the classes that hold a library's options."""
    found = find_library(library)
    stopper = translate(found, EarlyStopping(patience=2))
    reducer = translate(found, ReduceLROnPlateau(patience=2, min_lr=0.1))

    assert re.fullmatch(r"EarlyStopping\((early_stopping_)?patience=2\)", format_callback(stopper))
    assert re.fullmatch(r"ReduceLROnPlateau\(patience=2, min_lr=0.1\)", format_callback(reducer))
    assert format_callback(ModelCheckpoint("m")) == 'ModelCheckpoint(filepath="m")'
