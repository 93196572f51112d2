"""A policy as code to paste, in the words of the library that shall obey it."""

from __future__ import annotations

from typing import Final

from trainbus.callback import MonitoredCallback

from .libraries import LibraryName

__all__ = ["python"]

_OPENINGS: Final = {
    "trainbus": "EarlyStopping(",
    "torch": "EarlyStopping(",
    "keras": "keras.callbacks.EarlyStopping(",
    "lightning": "lightning.pytorch.callbacks.EarlyStopping(",
    "ignite": "ignite.handlers.EarlyStopping(score_function=lambda engine: engine.state.metrics[{monitor!r}], "
    "trainer=trainer, ",
}


def python(callback: MonitoredCallback, library: LibraryName) -> str:
    """The call that makes the callback, without what is at its default.

    >>> from trainbus.plugins import EarlyStopping
    >>> python(EarlyStopping(monitor="val_acc", mode="max", patience=3), "trainbus")
    "EarlyStopping(monitor='val_acc', mode='max', patience=3)"
    """
    options = callback.model_dump(exclude_defaults=True)
    options = {"monitor": callback.monitor, "mode": callback.mode, **options}
    if library == "ignite":
        del options["monitor"]
    opening = _OPENINGS[library].replace("{monitor!r}", repr(callback.monitor))
    return opening + ", ".join(f"{name}={value!r}" for name, value in options.items()) + ")"
