"""Decisions survive JSON, and unknown kinds of action are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Decision
from trainbus.decision import join
from trainbus.decision.json_format import action_from_json, decision_from_json, decision_to_json

from .made import names, recorded, words


@given(st.lists(words | recorded, max_size=4).map(join), names)
def test_a_decision_survives_strict_json(each: Decision, name: str) -> None:
    """Every action is restored equal, with its values, also non-finite ones."""
    signed = each.signed(name)

    assert decision_from_json(json.loads(json.dumps(decision_to_json(signed), allow_nan=False))) == signed


@pytest.mark.parametrize("name", ["Exec", "Action", "Decision", "FrozenValues", "stop", "replace", "", None])
def test_an_unknown_action_is_refused_by_its_name(name: str | None) -> None:
    """Data may come from anyone: it selects kinds of action only, not other names of the module."""
    with pytest.raises(
        ValueError, match=rf"unknown action {name!r}; known actions: ScaleLearningRate, SetLearningRate, Keep"
    ):
        action_from_json({"action": name, "reason": "", "by": ""})


@pytest.mark.parametrize(
    ("name", "value"), [("parts", {"a": 1}), ("parts", ["a.pt"]), ("parts", "a.pt"), ("link", {"a": None}), ("link", 1)]
)
def test_names_of_files_that_are_no_text_are_refused(name: str, value: object) -> None:
    """Data may come from anyone."""
    with pytest.raises(ValueError, match=f"the action 'Save' has {name}="):
        action_from_json({"action": "Save", "reason": "", "by": "", "path": "a.pt", name: value})
