"""Explain wrong options: what pydantic has found, in words that name the fix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ..errors import SettingsError
from ..metrics.names import hint, hint_with_list
from ..terminal.text import shown

_ADVICE: dict[str, str] = {
    **dict.fromkeys(["bool_parsing", "bool_type"], "give True or False"),
    **dict.fromkeys(["float_parsing", "float_type"], "give a number"),
    **dict.fromkeys(["int_from_float", "int_parsing", "int_type"], "give a whole number"),
    "dict_type": "give a mapping",
    **dict.fromkeys(["list_type", "tuple_type"], "give a list"),
    **dict.fromkeys(["string_type", "string_unicode"], "give text"),
    "finite_number": "give a finite number",
    "greater_than": "give a number above {gt:g}",
    "greater_than_equal": "give a number of at least {ge:g}",
    "less_than": "give a number below {lt:g}",
    "less_than_equal": "give a number of at most {le:g}",
    "string_too_short": "give text that is not empty",
}
"""What to give instead, for each type of pydantic's errors that a wrong option can cause."""


_TEXT_TYPE = "constrained-str"


def explained(name: str, options: list[str], elsewhere: Mapping[str, str], error: ValidationError) -> SettingsError:
    """Return an error with one line for each problem, which suggests the nearest right name.

    Args:
        name: The name of the callback.
        options: The names of its options.
        elsewhere: Names of options in other libraries, each with what to write instead.
        error: What pydantic has found wrong.
    """
    errors = _of_the_nearest_form(error.errors())
    return joined(name, [(_place(each["loc"]), _problem(options, elsewhere, each)) for each in errors])


def joined(name: str, problems: Sequence[tuple[tuple[str | int, ...], str]]) -> SettingsError:
    """Return an error with one line for each problem.

    Args:
        name: The name of the callback.
        problems: As in ``SettingsError``.
    """
    lines = [why for _, why in problems]
    error = SettingsError(f"{name}: {lines[0]}" if len(lines) == 1 else "\n  ".join([f"{name}:", *lines]))
    error.problems = problems
    return error


def _place(parts: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return tuple(part for part in parts if "[" not in str(part) and part != _TEXT_TYPE)


def _of_the_nearest_form(errors: Sequence[Any]) -> list[Any]:
    """Return the errors; of an option that may have several forms, only those of the form that fits best."""
    nearest: list[Any] = []
    for option in dict.fromkeys(each["loc"][:1] for each in errors):
        own = [each for each in errors if each["loc"][:1] == option]
        depth = max(len(each["loc"]) for each in own)
        deep = [each for each in own if len(each["loc"]) == depth]
        nearest += [each for each in deep if each["type"] != "tuple_type"] or deep
    return nearest


def _problem(options: list[str], elsewhere: Mapping[str, str], error: Mapping[str, Any]) -> str:
    name = ".".join(map(str, _place(error["loc"]))) or "options"
    if error["type"] == "extra_forbidden":
        if name in elsewhere:
            return f"{name}: unknown option; write {elsewhere[name]}. options: {', '.join(options)}"
        return f"{name}: unknown option{hint_with_list(name, options, 'options')}"
    if error["type"] == "missing":
        return f"{name} is required"
    why = error["msg"].removeprefix("Value error, ").replace("Input should be", "give", 1)
    if error["type"] in _ADVICE:
        why = _ADVICE[error["type"]].format(**error.get("ctx", {}))
    if error["type"] == "literal_error":
        why += hint(str(error["input"]), re.findall(r"'([^']*)'", why), otherwise="")
    return f"{name}={shown(error['input'])}: {why[:1].lower()}{why[1:]}"
