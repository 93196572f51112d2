"""Callbacks as Python code to copy, with the names of a library."""

from __future__ import annotations

import json
from typing import Any, Final

from trainbus import Callback, MonitoredCallback

from ...metrics.names import without_validation
from ..libraries.library import LibraryName
from ..libraries.settings import name_of

_OPENINGS: Final = {
    "trainbus": "EarlyStopping(",
    "torch": "EarlyStopping(",
    "keras": "keras.callbacks.EarlyStopping(",
    "lightning": "lightning.pytorch.callbacks.EarlyStopping(",
    # these two are arguments of TrainingArguments
    "hf": "transformers.EarlyStoppingCallback(",
    # the variable of the trainer, and Ignite's name of the metric, may differ
    "ignite": "ignite.handlers.EarlyStopping(score_function=lambda engine: engine.state.metrics[{monitor}], "
    "trainer=trainer, ",
}


def format_call(callback: MonitoredCallback, library: LibraryName) -> str:
    """Return the call that creates the callback in the library, without options at their defaults.

    >>> from trainbus.plugins import EarlyStopping
    >>> format_call(EarlyStopping(monitor="val_acc", mode="max", patience=3), "trainbus")
    'EarlyStopping(monitor="val_acc", mode="max", patience=3)'
    """
    options = {"monitor": callback.monitor, **callback.model_dump(exclude_defaults=True, exclude_none=True)}
    if library == "hf":
        metric = f"eval_{without_validation(callback.monitor)}"
        arguments = f"metric_for_best_model={_literal(metric)}, greater_is_better={options.pop('mode', 'min') == 'max'}"
        del options["monitor"]
        return f"{_OPENINGS[library]}{_arguments(options)})  # with TrainingArguments({arguments})"
    if library == "ignite":
        del options["monitor"]
    opening = _OPENINGS[library].replace("{monitor}", _literal(callback.monitor))
    return f"{opening}{_arguments(options)})"


def format_callback(callback: Callback) -> str:
    """Return the callback without options at their defaults, by the name that it has in every library.

    >>> from trainbus.plugins import EarlyStopping
    >>> format_callback(EarlyStopping(patience=3))
    'EarlyStopping(patience=3)'
    """
    return f"{name_of(type(callback))}({_arguments(callback.model_dump(exclude_defaults=True, exclude_none=True))})"


def _arguments(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in options.items())


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
