"""A source of metrics for monitors, without a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.metrics.origin import Origin
from trainbus.metrics.running_means import RunningMeans


@dataclass
class Source:
    """All that a monitor needs, without a run."""

    subject: object = None
    epoch_metrics: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    epoch: int = 0
    means: RunningMeans = field(default_factory=RunningMeans)
    validated: bool = False
    due: bool = True
    origin: Origin = field(default_factory=Origin)
    metric_advice: MetricAdvice = field(default_factory=MetricAdvice)

    def validates(self, epoch: int) -> bool:
        return self.due
