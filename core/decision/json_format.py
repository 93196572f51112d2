"""Decisions as plain JSON data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from math import isfinite
from typing import Any

from .actions import Action, Forget, Keep, Restore, Save, ScaleLearningRate, Stop
from .decision import Decision
from .values import FrozenValues, Value, as_plain_value

_KINDS = {kind.__name__: kind for kind in (ScaleLearningRate, Keep, Save, Restore, Forget, Stop)}


def decision_to_json(decision: Decision) -> list[dict[str, Any]]:
    """Return the actions of a decision as plain JSON data, in order."""
    return list(map(action_to_json, decision))


def decision_from_json(actions: Iterable[Mapping[str, Any]]) -> Decision:
    """Return the decision that ``decision_to_json`` was called with; it raises the errors of ``action_from_json``."""
    return Decision(frozenset(map(action_from_json, actions)))


def action_to_json(action: Action) -> dict[str, Any]:
    """Return an action as plain JSON data.

    >>> from math import nan
    >>> action_to_json(Forget("a.pt", values={"best": nan}))
    {'action': 'Forget', 'reason': '', 'by': '', 'values': {'best': {'$': 'float', 'value': 'nan'}}, 'source': 'a.pt'}
    """
    data: dict[str, Any] = {"action": type(action).__name__}
    for each in fields(action):
        value = getattr(action, each.name)
        if each.name == "values":
            if value:
                data["values"] = {name: _to_json(plain) for name, plain in value.items()}
        elif value or each.name != "rule":
            data[each.name] = _to_json(as_plain_value(value))
    return data


def action_from_json(data: Mapping[str, Any]) -> Action:
    """Return the action that ``action_to_json`` was called with.

    Raises:
        ValueError: The data names an unknown kind of action.
    """
    options = dict(data)
    name = options.pop("action", None)
    if name not in _KINDS:
        raise ValueError(f"unknown action {name!r}; known actions: {', '.join(_KINDS)}")
    values = {each: _from_json(value) for each, value in options.pop("values", {}).items()}
    return _KINDS[name](**{each: _from_json(value) for each, value in options.items()}, values=FrozenValues(values))


def _to_json(value: Value) -> Any:
    """Return a value in the format of ``trainbus.resume.serialization``, which marks floats that are not finite."""
    return value if not isinstance(value, float) or isfinite(value) else {"$": "float", "value": repr(value)}


def _from_json(value: dict[str, Any] | Value) -> Any:
    return float(value["value"]) if isinstance(value, dict) else value
