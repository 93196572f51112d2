"""The values of metrics that no look has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from typing_extensions import TypedDict

from trainbus import Run
from trainbus.metrics.names import resolve
from trainbus.metrics.running_means import RunningMeans
from trainbus.metrics.scalars import LazyMetrics, as_number, is_missing
from trainbus.resume.checks.plugin_values import Number, Score, Step, Text

from .compared_metric import ComparedMetric


class SavedValues(TypedDict):
    """What a checkpoint stores of the values."""

    stamps: dict[Text, tuple[Number, Step, Score]]
    waiting: dict[Text, Score]


class UnseenValues:
    """The values that came after a look and wait for the next one; of each metric, the last.

    A metric that breaks ties does so by its last value, whenever it was logged.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, float] = {}
        """Name to the last value that no look has seen; of a metric that breaks ties, to its last value."""
        self.stamps: dict[str, tuple[int, int, float]] = {}
        """Name to the epoch, the validation and the number of samples of the value that was seen last."""

    def look(
        self, run: Run, compared: Sequence[ComparedMetric], values: Mapping[str, Any], means: RunningMeans | None = None
    ) -> dict[str, Any]:
        """Return the metrics that have got a value since the last look, and those that break their ties.

        Args:
            run: The run.
            compared: The metrics that the callback reads.
            values: Metrics by name.
            means: Those that say whether a metric has got a value; None if each of the values is new.
        """
        seen: dict[str, Any] = {}
        for each in compared:
            name, *others = each.names
            logged = _logged(name, values)
            found = self._take(name) if logged is None else self._new_value(run, logged, values, means)
            if not found:
                continue
            seen.update(found)
            for other in others:
                if (known := _logged(other, values)) is not None:
                    seen[known] = values[known]
                elif (known := resolve(other, self.waiting)) is not None:
                    seen[known] = self.waiting[known]
        if not isinstance(values, LazyMetrics):  # the end of the epoch keeps those of its batches
            self._keep_others(compared, values)
        return seen

    def keep(
        self, run: Run, compared: Sequence[ComparedMetric], values: Mapping[str, Any], means: RunningMeans | None = None
    ) -> None:
        """Let each value that no look has seen wait for the next look.

        Args:
            run: The run.
            compared: The metrics that the callback reads.
            values: Metrics by name, at the end of an epoch or of a validation.
            means: Those that say whether a look has seen a value; None if none has.
        """
        for name in (each.names[0] for each in compared):
            logged = _logged(name, values)
            if logged is None:
                continue
            validation = means.stamp(logged)[0] if means is not None and logged in means else 0
            if means is None or self.stamps.get(logged, ())[:2] != (run.epoch, validation):
                self._set(logged, values[logged])
        self._keep_others(compared, values)

    def _keep_others(self, compared: Sequence[ComparedMetric], values: Mapping[str, Any]) -> None:
        for name in _second_names(compared):
            if (logged := _logged(name, values)) is not None:
                self._set(logged, values[logged])

    def _set(self, name: str, value: object) -> None:
        with suppress(TypeError):  # it is no single number, which its monitor refuses
            self.waiting[name] = as_number(value)

    def _new_value(
        self, run: Run, name: str, values: Mapping[str, Any], means: RunningMeans | None
    ) -> Mapping[str, Any]:
        """Return the value of a metric by its name, if it has got one in this epoch since the last look."""
        self.waiting.pop(name, None)
        stamp = (run.epoch, *(means.stamp(name) if means is not None and name in means else (0, 0.0)))
        is_new = means is None or name not in means or self.stamps.get(name) != stamp
        self.stamps[name] = stamp
        return {name: values[name]} if is_new else {}

    def _take(self, name: str) -> Mapping[str, Any]:
        """Return the value by its name that waits for a look; it waits no longer."""
        found = resolve(name, self.waiting)
        return {} if found is None else {found: self.waiting.pop(found)}

    def state_dict(self) -> SavedValues:
        """Return what a resumed run needs."""
        return {"stamps": dict(self.stamps), "waiting": dict(self.waiting)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.waiting = dict(saved["waiting"])
        self.stamps = {name: (epoch, restart, count) for name, (epoch, restart, count) in saved["stamps"].items()}


def _second_names(compared: Sequence[ComparedMetric]) -> Iterator[str]:
    return (name for each in compared for name in each.names[1:])


def _logged(name: str, values: Mapping[str, Any]) -> str | None:
    """Return the name under which a metric has a value; reading a lazy one may wait for a device."""
    found = resolve(name, values)
    lacks = found is not None and not isinstance(values, LazyMetrics) and is_missing(values[found])
    return None if lacks else found
