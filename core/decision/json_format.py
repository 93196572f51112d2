"""Decisions as plain JSON data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from math import isfinite
from typing import Any, cast

from .actions import Action, Forget, Keep, Restore, Save, ScaleLearningRate, Stop
from .decision import Decision
from .values import FrozenValues, Value, as_plain_value

_KINDS = {kind.__name__: kind for kind in (ScaleLearningRate, Keep, Save, Restore, Forget, Stop)}


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


_VALID: Mapping[str, Callable[[Any], bool]] = {
    "factor": _is_number,
    "floor": _is_number,
    "weights_only": lambda value: type(value) is bool,
    "on_error": lambda value: value in ("raise", "warn"),
    "background": lambda value: value is None or type(value) is bool,
}
"""Name of a field to what its value must be; the value of every other field is text."""


def decision_to_json(decision: Decision) -> list[dict[str, Any]]:
    """Return the actions of a decision as plain JSON data, in order."""
    return list(map(action_to_json, decision))


def decision_from_json(actions: Iterable[object]) -> Decision:
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
        elif value or each.name not in ("rule", "link"):
            data[each.name] = _to_json(as_plain_value(value))
    return data


def action_from_json(data: object) -> Action:
    """Return the action that ``action_to_json`` was called with.

    Raises:
        ValueError: The data is not that of a known kind of action with the fields that it has.

    >>> action_from_json({"action": "Forget", "source": "a.pt", "recursive": True})
    Traceback (most recent call last):
        ...
    ValueError: the action 'Forget' has no field 'recursive'; known fields: reason, by, rule, values, source
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{data!r} is not an action")  # noqa: TRY004 - of the data, not of the caller
    options = dict(cast("Mapping[str, Any]", data))
    name = options.pop("action", None)
    if not isinstance(name, str) or name not in _KINDS:
        raise ValueError(f"unknown action {name!r}; known actions: {', '.join(_KINDS)}")
    known = {each.name: each for each in fields(_KINDS[name])}
    for each in options:
        if each not in known:
            raise ValueError(f"the action {name!r} has no field {each!r}; known fields: {', '.join(known)}")
    for each, field in known.items():
        if each not in options and field.default is MISSING:
            raise ValueError(f"the action {name!r} lacks the field {each!r}")
    try:
        given = {each: _from_json(value) for each, value in options.items() if each != "values"}
        values = FrozenValues({each: _from_json(value) for each, value in options.get("values", {}).items()})
        hash(values)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f"the action {name!r} has a field that is not plain data") from None
    for each, value in given.items():
        if not _VALID.get(each, _is_text)(value):
            raise ValueError(f"the action {name!r} has {each}={value!r}, which is not valid")
    return _KINDS[name](**given, values=values)


def _to_json(value: Value) -> Any:
    """Return a value in the format of ``trainbus.resume.serialization``, which marks floats that are not finite."""
    return value if not isinstance(value, float) or isfinite(value) else {"$": "float", "value": repr(value)}


def _from_json(value: dict[str, Any] | Value) -> Any:
    return float(value["value"]) if isinstance(value, dict) else value
