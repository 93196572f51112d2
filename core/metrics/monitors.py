"""The monitored metrics of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..errors import MissingMetric, SettingsError
from .monitor import BestValue, MetricSource, Monitor


class Monitors:
    """The monitored metrics of one run.

    Args:
        source: The run that the monitors read.
    """

    def __init__(self, source: MetricSource) -> None:
        self._source = source
        self._monitors: dict[tuple[str, str], Monitor] = {}

    def get(self, metric: str, mode: Literal["auto", "min", "max"] = "auto") -> Monitor:
        """Return the monitor of a metric; equal arguments return the same monitor.

        Raises:
            UnknownDirection: ``mode`` is "auto", and the direction in which the metric improves is unknown.
        """
        if (metric, mode) not in self._monitors:
            self._monitors[metric, mode] = Monitor(self._source, metric, mode)
        return self._monitors[metric, mode]

    def update(self, metrics: Mapping[str, Any], epoch: int) -> None:
        """Update every monitor with the metrics of the epoch that ended.

        Raises:
            MissingMetric: A monitored metric is missing.
        """
        problems: list[str] = []
        for monitor in self._monitors.values():
            try:
                monitor.watch(metrics, epoch)
            except SettingsError as error:
                if len(self._monitors) == 1:
                    raise
                problems.append(str(error))
        if problems:
            raise MissingMetric("\n".join(dict.fromkeys(problems)))

    def best(self) -> dict[str, BestValue]:
        """Return the best value of each metric that has one."""
        return {each.metric: each.best for each in self._monitors.values() if each.best is not None}
