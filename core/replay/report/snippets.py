"""A policy as code to paste, in the words of the library that shall obey it."""

from __future__ import annotations

import json
from typing import Any, Final

from ...callback import Callback, MonitoredCallback
from ..library_settings import LibraryName

__all__ = ["brief", "python"]

_SHARED: Final = ("EarlyStopping", "ReduceLROnPlateau")

_OPENINGS: Final = {
    "trainbus": "EarlyStopping(",
    "torch": "EarlyStopping(",
    "keras": "keras.callbacks.EarlyStopping(",
    "lightning": "lightning.pytorch.callbacks.EarlyStopping(",
    "ignite": "ignite.handlers.EarlyStopping(score_function=lambda engine: engine.state.metrics[{monitor}], "
    "trainer=trainer, ",  # its own names of the metric and of the trainer are not known
}


def python(callback: MonitoredCallback, library: LibraryName) -> str:
    """The call that makes the callback, without what is at its default.

    >>> from trainbus.plugins import EarlyStopping
    >>> python(EarlyStopping(monitor="val_acc", mode="max", patience=3), "trainbus")
    'EarlyStopping(monitor="val_acc", mode="max", patience=3)'
    """
    options = {"monitor": callback.monitor, **callback.model_dump(exclude_defaults=True)}
    if library == "ignite":
        del options["monitor"]
    opening = _OPENINGS[library].replace("{monitor}", _written(callback.monitor))
    return opening + ", ".join(f"{name}={_written(value)}" for name, value in options.items()) + ")"


def brief(callback: Callback) -> str:
    """The callback without what is at its default, under the name that every library gives it.

    >>> from trainbus.plugins import EarlyStopping
    >>> brief(EarlyStopping(patience=3))
    'EarlyStopping(patience=3)'
    """
    options = callback.model_dump(exclude_defaults=True)
    told = ", ".join(f"{name}={_written(value)}" for name, value in options.items())
    kind = type(callback).__name__
    return f"{next((name for name in _SHARED if kind.endswith(name)), kind)}({told})"


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
