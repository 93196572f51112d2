"""What a run has, as its journal records it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, decision, journal
from trainbus.plugins import EarlyStopping
from trainbus.plugins.journal.records import MAX_TEXT, action_record, outcome_of, plugin_record, recorded_value


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=300), st.lists))
def test_any_value_of_an_event_fits_into_a_line(value: Any) -> None:
    """Short, and as it was if it is a number or a short text."""
    found = recorded_value(value)
    assert len(json.dumps(found)) < 12 * MAX_TEXT
    if isinstance(value, (bool, float)) or value is None:
        assert found is value or found == value or np.isnan(value)
    elif isinstance(value, str):
        assert str(found).startswith(value[:MAX_TEXT])
    else:
        assert found == "<list>"


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (decision.stop("enough"), {"unless_cut": False}),
        (decision.restore("best.npz"), {"source": "best.npz"}),
        (decision.scale_learning_rate(0.5), {"factor": 0.5, "floor": 0.0, "groups": [], "eps": 0.0}),
    ],
)
def test_an_action_has_its_own_options(asked: Any, options: dict[str, Any]) -> None:
    """And the fields that every action has, apart."""
    (action,) = asked.signed("plugin")
    record = action_record(action)
    assert (record.kind, record.by, record.reason) == (action.kind, "plugin", action.reason)
    assert record.options == options
    assert journal.ActionRecord.model_validate_json(record.model_dump_json()).kind == action.kind


def test_a_plugin_is_recorded_with_the_settings_of_its_callback() -> None:
    """One without a callback has none."""
    run = Run(callbacks=[EarlyStopping(patience=3)], verbose=1)
    record = plugin_record(run, "EarlyStopping")
    assert (record.callback, record.settings["patience"]) == ("EarlyStopping", 3)
    assert plugin_record(run, "progress") == journal.PluginRecord(callback="", settings={})


@pytest.mark.parametrize(
    ("how", "outcome"),
    [("on", "finished"), ("stop", "stopped"), ("break", "stopped"), ("Ctrl-C", "interrupted"), ("error", "failed")],
)
def test_the_outcome_is_one_word(how: str, outcome: str) -> None:
    run = Run(verbose=0)
    run.begin()
    for _ in run.epochs(2):
        run.log(loss=1.0)
        if how == "stop":
            run.stop("enough")
        elif how in ("break", "Ctrl-C", "error"):
            break
    error = {"Ctrl-C": KeyboardInterrupt(), "error": ValueError("no")}.get(how)
    run.end(error)
    assert outcome_of(run) == outcome
