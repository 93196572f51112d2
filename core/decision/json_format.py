"""Decisions as plain JSON data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from math import isfinite
from typing import Any, cast

from .actions import Action, Forget, Keep, Restore, Save, ScaleLearningRate, SetLearningRate, Stop
from .decision import Decision
from .values import FrozenValues, Value, as_plain_value

_KINDS = {kind.__name__: kind for kind in (ScaleLearningRate, SetLearningRate, Keep, Save, Restore, Forget, Stop)}


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_text_by_name(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, cast("Mapping[object, object]", value).values()))


def _is_rate(value: object) -> bool:
    values = cast("Mapping[object, object]", value).values() if isinstance(value, Mapping) else [value]
    return all(map(_is_number, values)) and bool(values)


_VALID: Mapping[str, Callable[[Any], bool]] = {
    "factor": _is_number,
    "rate": _is_rate,
    "floor": _is_rate,
    "groups": lambda value: isinstance(value, list) and all(map(_is_text, cast("list[object]", value))),
    "eps": _is_number,
    "weights_only": lambda value: type(value) is bool,
    "content_optional": lambda value: type(value) is bool,
    "for_inspection": lambda value: type(value) is bool,
    "unless_cut": lambda value: type(value) is bool,
    "on_error": lambda value: value in ("raise", "warn"),
    "link": lambda value: _is_text(value) or _is_text_by_name(value),
    "parts": _is_text_by_name,
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
    kind: Any = type(action)
    data: dict[str, Any] = {"action": kind.__name__}
    for each in _names_in(kind):
        value: Any = getattr(action, each)
        if each == "values":
            if value:
                data["values"] = {name: _to_json(plain) for name, plain in value.items()}
        elif value or each not in ("rule", "link", "parts", "content_optional", "for_inspection"):
            data[each] = _to_json(cast("Any", value) if isinstance(value, (Mapping, tuple)) else as_plain_value(value))
    return data


@cache
def _names_in(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


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


def _to_json(value: Value | Mapping[str, Value] | tuple[str, ...]) -> Any:
    """Return a value in the format of ``trainbus.resume.serialization``, which marks floats that are not finite."""
    if isinstance(value, Mapping):
        return {name: _to_json(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value if not isinstance(value, float) or isfinite(value) else {"$": "float", "value": repr(value)}


def _from_json(value: dict[str, Any] | Value) -> Any:
    if not isinstance(value, dict):
        return value
    return float(value["value"]) if "$" in value else {name: _from_json(each) for name, each in value.items()}
