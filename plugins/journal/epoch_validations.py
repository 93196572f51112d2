"""The validations of the present epoch, of which a journal records those that the epoch's metrics do not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainbus import Run, journal
from trainbus.capabilities import HasLearningRate, has
from trainbus.failures import is_observer
from trainbus.metrics.names import is_validated
from trainbus.metrics.scalars import LazyMetrics, to_scalars
from trainbus.resume.checks.plugin_values import Score, Step, Text

SavedValidations = list[tuple[Step, dict[Text, Score]]]
"""The step and the metrics of each validation."""


class EpochValidations:
    """Collects the validations of an epoch."""

    def __init__(self) -> None:
        self.records: list[journal.ValidationRecord] = []

    def add(self, run: Run, metrics: Mapping[str, Any]) -> None:
        """Note the metrics of a validation and the learning rates at its end, unless these are on a device."""
        rates: Mapping[str, Any] = run.subject.learning_rates() if has(run.subject, HasLearningRate) else {}
        values = rates.on_device() if isinstance(rates, LazyMetrics) else rates
        on_host = {name: rate for name, rate in values.items() if isinstance(rate, float)}  # others wait for a device
        self.records.append(journal.ValidationRecord(step=run.step, metrics=to_scalars({**metrics, **on_host})))

    def take(self, run: Run) -> tuple[journal.ValidationRecord, ...] | None:
        """Return the validations of the epoch that ends, and begin the next one.

        Returns:
            An empty tuple if there was one at the end of the epoch, whose metrics are those of the epoch, or none. None
            if they are not those of all ranks, as they are where a plugin decides.
        """
        records, self.records = self.records, []
        shown = (each.step == run.step and any(map(is_validated, each.metrics)) for each in records)
        if len(records) <= 1 and all(shown):
            return ()
        listeners = [each for each in run.plugins.values() if hasattr(each, "on_validation_end")]
        return tuple(records) if run.world_size == 1 or not all(map(is_observer, listeners)) else None

    def state(self) -> SavedValidations:
        """Return what a resumed run needs."""
        return [(each.step, dict(each.metrics)) for each in self.records]

    def load(self, saved: SavedValidations) -> None:
        """Continue from what ``state`` returned."""
        self.records = [journal.ValidationRecord(step=step, metrics=metrics) for step, metrics in saved]
