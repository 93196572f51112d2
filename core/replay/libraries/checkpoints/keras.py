"""Keras's ModelCheckpoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import nan
from typing import Literal

from pydantic import PositiveInt

from trainbus import MonitoredCallback

from ...records import Recording
from ..precision import single
from .saver import CheckpointSpec, Comparison, FileChange, Moment


class KerasModelCheckpoint(MonitoredCallback):
    """The options of Keras's ModelCheckpoint."""

    filepath: str = "checkpoint.keras"
    save_best_only: bool = False
    save_weights_only: bool = False
    save_freq: Literal["epoch"] | PositiveInt = "epoch"
    initial_value_threshold: float | None = None


class KerasSaver:
    """Saves after each epoch, or after each that is better in single precision, and removes nothing.

    An epoch without the metric is saved as well; if the first value is NaN, it stays the best.

    Args:
        settings: The options.
        comparison: How values of the metric compare.

    Source: keras 3.15.1, ``ModelCheckpoint._save_model``.
    """

    def __init__(self, settings: KerasModelCheckpoint, comparison: Comparison) -> None:
        self.settings, self.sign = settings, comparison.sign
        self.best: str | None = None
        self._value = settings.initial_value_threshold

    def save(self, moment: Moment) -> Iterator[FileChange]:
        """Save the model of an epoch."""
        value, settings = moment.value, self.settings
        path = settings.filepath.format_map(defaultdict(lambda: nan, {**moment.metrics, "epoch": moment.epoch + 1}))
        if settings.save_best_only and value is not None:
            if self._value is not None and not single(self.sign * value) > single(self.sign * self._value):
                return
            self._value, self.best = value, path
        yield FileChange(path)

    def finish(self) -> tuple[FileChange, ...]:
        """Change nothing."""
        return ()


def _unanswered(settings: KerasModelCheckpoint, _: Recording) -> str | None:
    if settings.save_freq == "epoch":
        return None
    return f"save_freq={settings.save_freq} saves inside epochs, of which nothing is recorded"


KERAS_CHECKPOINTS = CheckpointSpec(KerasModelCheckpoint, KerasSaver, unanswered=_unanswered)
