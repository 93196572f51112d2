"""What a run has, in the form in which its journal records it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Literal, cast

from trainbus import Run, journal
from trainbus.decision import Action
from trainbus.metrics.scalars import plain_number
from trainbus.resume.serialization import to_json_data

COMMON_FIELDS = tuple(each.name for each in fields(Action))
"""The fields that every action has; the others are its options."""
MAX_HPARAM = 2_000
"""The characters of JSON of one hyperparameter that are recorded; the journal is read line by line."""
MAX_TEXT = 200
"""The characters that are recorded of a text in an event of the loop."""


def plugin_record(run: Run, name: str) -> journal.PluginRecord:
    """Return a plugin of a run, with the settings of its callback."""
    callback = run.callbacks.get(name)
    settings = {} if callback is None else callback.settings()
    return journal.PluginRecord(callback=settings.pop("callback", ""), settings=settings)


def action_record(action: Action) -> journal.ActionRecord:
    """Return an action of a decision."""
    kind: Any = type(action)
    options = {name: _plain(getattr(action, name)) for name in _options_of(kind)}
    common = {name: getattr(action, name) for name in COMMON_FIELDS}
    return journal.ActionRecord(kind=action.kind, options=options, **common)  # type: ignore[arg-type]


def _plain(option: Any) -> Any:
    """Return an option of an action, a frozen mapping as a dict."""
    return dict(cast("Mapping[str, Any]", option)) if isinstance(option, Mapping) else option


def recorded_value(value: object) -> bool | float | str | None:
    """Return a value of an event as the journal has it: a number, text, or else the name of its type.

    >>> recorded_value(0.5), recorded_value("text"), recorded_value([1, 2])
    (0.5, 'text', '<list>')
    """
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}..."
    number = value if value is None or isinstance(value, (bool, int)) else plain_number(value)
    return number if number is None or isinstance(number, (bool, int, float)) else f"<{type(value).__name__}>"


def recorded_hparams(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters as the journal has them: plain data, and in place of a large one its type and size.

    >>> recorded_hparams({"lr": 0.1, "layers": (64, 8), "vocabulary": list(range(1000))})
    {'lr': 0.1, 'layers': [64, 8], 'vocabulary': '<list, 4,890 characters>'}
    """
    found: dict[str, Any] = {}
    for name, value in hparams.items():
        plain = to_json_data(value)
        size = len(json.dumps(plain))
        found[name] = plain if size <= MAX_HPARAM else f"<{type(value).__name__}, {size:,} characters>"
    return found


@cache
def _options_of(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind) if each.name not in COMMON_FIELDS)


def described(error: BaseException) -> str:
    """Return an error in one line.

    >>> described(ValueError("no"))
    'ValueError: no'
    """
    return f"{type(error).__name__}: {error}"


def outcome_of(run: Run) -> Literal["finished", "stopped", "interrupted", "failed"]:
    """Return in one word how a run ended."""
    if run.state.interrupted or isinstance(run.error, KeyboardInterrupt):
        return "interrupted"
    if run.error is not None:
        return "failed"
    return "stopped" if run.stopped or run.state.left else "finished"
