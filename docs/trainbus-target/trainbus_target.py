"""A trainbus callback that stops as soon as a metric reaches a target."""

from collections.abc import Mapping
from typing import Any

from trainbus import Decision, MonitoredCallback, Run, decision, hookimpl


class StopAtTarget(MonitoredCallback):
    """Stop as soon as the monitored metric reaches a target."""

    target: float
    """Value of the metric that is good enough."""

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return _Stopper(self)


class _Stopper:
    def __init__(self, settings: StopAtTarget) -> None:
        self.settings = settings

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        self.monitor = run.monitor(self.settings.monitor, self.settings.mode)

    @hookimpl
    def on_epoch_end(self, metrics: Mapping[str, Any]) -> Decision | None:
        score = self.monitor.score(metrics)
        if score is not None and score >= self.monitor.sign * self.settings.target:
            return decision.stop(f"{self.monitor.metric} reached {self.settings.target}")
        return None
