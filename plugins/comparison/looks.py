"""Looks of a plugin that are not at the end of every epoch: at every few epochs, at validations, or at batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from typing_extensions import TypedDict

from trainbus import Decision, MissingMetric, Run, hookimpl
from trainbus.metrics.names import is_validated, resolve
from trainbus.metrics.running_means import RunningMeans
from trainbus.resume.checks.plugin_values import Flag, Step, parsed

from ..frequency import EVERY_EPOCH, SavedSchedule, Schedule
from ..unused_batches import report_uncounted
from .compared_metric import ComparedMetric
from .due_looks import DueLooks
from .settings import ComparisonSettings
from .unseen_values import SavedValues, UnseenValues


class Looker(Protocol):
    """A plugin that looks at metrics."""

    @property
    def compared(self) -> Sequence[ComparedMetric]:
        """The metrics that it reads."""
        ...

    @property
    def first_epoch(self) -> int:
        """The first epoch, counted from 0, in which it looks."""
        ...

    def on_train_begin(self, run: Run) -> None:
        """Prepare for the run."""
        ...

    def look_between(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Return what follows from metrics inside of an epoch; one that is missing may still come in this epoch.

        Args:
            run: The run.
            metrics: Metrics by name.
        """
        ...

    def check_epoch(self, run: Run, plugin: object) -> None:
        """Report at the end of an epoch what it waits for in vain.

        Args:
            run: The run.
            plugin: The plugin that the run calls.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        ...

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        ...

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        ...


def looking(settings: ComparisonSettings, looker: Looker) -> object:
    """Return the plugin that lets another one look when its settings say so.

    Args:
        settings: The options of the callback.
        looker: The plugin; at the end of every epoch it looks in its own hook, and is returned itself.
    """
    frequency = settings.frequency
    if frequency == EVERY_EPOCH:
        return looker
    if frequency.in_epochs:
        return EpochLooks(settings, looker)
    return ValidationLooks(settings, looker) if frequency.unit == "validation" else BatchLooks(settings, looker)


class _SavedEpochLooks(TypedDict):
    """What a checkpoint stores of a plugin that looks at the end of some epochs."""

    looker: dict[str, Any]
    values: SavedValues


class EpochLooks:
    """Looks at the end of every few epochs; a value of an epoch between them waits for the next look.

    Args:
        settings: The options of the callback.
        looker: What looks.
    """

    def __init__(self, settings: ComparisonSettings, looker: Looker) -> None:
        self.frequency, self.looker, self.values = settings.frequency, looker, UnseenValues()
        self.on_train_begin = looker.on_train_begin
        self.due = DueLooks(settings, looker)
        self.on_train_end = self.due.on_train_end

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Look if due, or else keep what no look has seen."""
        self.looker.check_epoch(run, self)
        if run.epoch < self.looker.first_epoch:
            return None
        if self.frequency.includes(run.epoch):
            self.due.any = True
            seen = self.values.look(run, self.looker.compared, metrics)
            return self.looker.look_between(run, seen) if seen else None
        self.values.keep(run, self.looker.compared, metrics)
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"looker": self.looker.state_dict(), "values": self.values.state_dict()}

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        self.looker.check_state_dict(parsed(_SavedEpochLooks, saved)["looker"])

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.looker.load_state_dict(saved["looker"])
        self.values.load_state_dict(saved["values"])


class _SavedLooks(TypedDict):
    """What a checkpoint stores of a plugin that looks at the end of validations."""

    looker: dict[str, Any]
    seen: Flag
    number: Step
    values: SavedValues


class ValidationLooks:
    """Looks at the end of every validation, or of every few of the whole run; a value between them waits.

    Args:
        settings: The options of the callback.
        looker: What looks.
    """

    def __init__(self, settings: ComparisonSettings, looker: Looker) -> None:
        self.settings, self.looker, self.seen = settings, looker, False
        self.every, self.number = int(settings.frequency.every), 0
        self.values = UnseenValues()
        self.on_train_begin = looker.on_train_begin
        self.due = DueLooks(settings, looker)
        self.on_train_end = self.due.on_train_end

    @hookimpl
    def on_validation_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Look."""
        self.seen = True
        self.number += 1
        if run.epoch < self.looker.first_epoch:
            return None
        self._check_names(metrics)
        if self.number % self.every:
            self.values.keep(run, self.looker.compared, metrics)
            return None
        self.due.any = True
        if self.every == 1:
            return self.looker.look_between(run, metrics)
        seen = self.values.look(run, self.looker.compared, metrics)
        return self.looker.look_between(run, seen) if seen else None

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        """Raise an error if the epoch should have had a validation, and none was reported."""
        self.looker.check_epoch(run, self)
        if not self.seen and run.state.validates(run.epoch):
            raise MissingMetric(
                f"{type(self.settings).__name__}: every={self.settings.every!r}, but "
                f"{run.state.plan.interval(run.epoch)} has reported no validation: {run.state.metric_advice.validation}"
            )

    def _check_names(self, metrics: Mapping[str, Any]) -> None:
        """Refuse a metric that validations never log."""
        for name in (name for each in self.looker.compared for name in each.names):
            if not is_validated(name) and resolve(name, metrics) is None:
                option = f"{type(self.settings).__name__}: every={self.settings.every!r}"
                raise MissingMetric(
                    f"{option} reads what a validation logs, which has no {name!r} (it has "
                    f'{", ".join(metrics) or "nothing"}); monitor one of these, or set every="epoch"'
                )

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        own = {"seen": self.seen, "number": self.number, "values": self.values.state_dict()}
        return {"looker": self.looker.state_dict(), **own}

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        self.looker.check_state_dict(parsed(_SavedLooks, saved)["looker"])

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.looker.load_state_dict(saved["looker"])
        self.seen, self.number = saved["seen"], saved["number"]
        self.values.load_state_dict(saved["values"])


class _SavedBatchLooks(TypedDict):
    """What a checkpoint stores of a plugin that looks at the end of batches."""

    looker: dict[str, Any]
    schedule: SavedSchedule
    values: SavedValues


class BatchLooks:
    """Looks at the end of batches, after a number of batches or weight updates, a time, or a share of the training.

    A share that an epoch completes is looked at when the epoch has all its metrics. A value that came after the last
    look of an epoch, such as that of its validation, waits for the next look.

    Args:
        settings: The options of the callback.
        looker: What looks.
    """

    schedule: Schedule

    def __init__(self, settings: ComparisonSettings, looker: Looker) -> None:
        self.settings, self.looker, self.checked = settings, looker, False
        self.in_shares = settings.frequency.unit == "percent"
        self.values = UnseenValues()
        self.due = DueLooks(settings, looker)
        self.on_train_end = self.due.on_train_end

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Prepare for the run, and start the schedule."""
        self.looker.on_train_begin(run)
        self.schedule = Schedule(self.settings.frequency, run.step, "every", type(self.settings).__name__)
        if self.settings.value == "last":
            run.state.means.keep_last()

    @hookimpl
    def on_batch_end(self, run: Run, batch: int, metrics: Mapping[str, Any]) -> Decision | None:
        """Look if due."""
        at_epoch_end = self.in_shares and 0 < (run.state.planned_batches or 0) <= batch + 1
        due = not at_epoch_end and self.schedule.is_due(run, batch)
        if run.epoch < self.looker.first_epoch:
            return None
        means = metrics if isinstance(metrics, RunningMeans) else None
        # the end of an epoch has no other counts than those of this rank
        return self._look(run, metrics, run.state.means if self.in_shares else means) if due else None

    def _look(self, run: Run, metrics: Mapping[str, Any], means: RunningMeans | None) -> Decision | None:
        """Look at the metrics that have got a value since the last look.

        Args:
            run: The run.
            metrics: Metrics by name.
            means: Those that say whether a metric has got a value; None if the loop reports its means itself.
        """
        values = metrics if self.settings.value == "mean" else self._last_values(means)
        self.due.any = True
        seen = self.values.look(run, self.looker.compared, values, means)
        return self.looker.look_between(run, seen) if seen else None

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Look if a share ends here, or else keep what no look has seen; report a loop without batches."""
        self.looker.check_epoch(run, self)
        if not (self.checked or self.in_shares):
            self.checked = True
            lost = f"every={self.settings.every!r} has not looked at the metric"
            self.due.reported = report_uncounted(run, self, lost, steps=self.settings.frequency.unit == "step")
        due = self.in_shares and self.schedule.is_due_after(run)
        if run.epoch < self.looker.first_epoch:
            return None
        if due:
            return self._look(run, metrics, run.state.means)
        self.values.keep(run, self.looker.compared, metrics, run.state.means)
        return None

    def _last_values(self, means: RunningMeans | None) -> Mapping[str, Any]:
        if means is None:
            raise MissingMetric(
                f"{type(self.settings).__name__}: value='last', but this loop reports only means of the epoch; "
                'set value="mean"'
            )
        return means.last_values()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {
            "looker": self.looker.state_dict(),
            "schedule": self.schedule.state_dict(),
            "values": self.values.state_dict(),
        }

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        self.looker.check_state_dict(parsed(_SavedBatchLooks, saved)["looker"])

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.looker.load_state_dict(saved["looker"])
        self.schedule.load_state_dict(saved["schedule"])
        self.values.load_state_dict(saved["values"])
