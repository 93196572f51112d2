"""Looks of a plugin inside of epochs: at the end of validations or of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, Protocol

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from trainbus import Decision, MissingMetric, Run, hookimpl
from trainbus.metrics.names import resolve
from trainbus.metrics.running_means import RunningMeans
from trainbus.resume.checks.plugin_values import Flag, Number, Score, Step, Text, parsed

from ..unused_batches import report_uncounted
from .look_schedule import LookSchedule, SavedLookSchedule
from .settings import ComparisonSettings


class Looker(Protocol):
    """A plugin that looks at metrics."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the metrics that it reads, once the run has begun."""
        ...

    def on_train_begin(self, run: Run) -> None:
        """Prepare for the run."""
        ...

    def look_between(self, run: Run, metrics: Mapping[str, Any], *, required: bool) -> Decision | None:
        """Return what follows from metrics inside of an epoch.

        Args:
            run: The run.
            metrics: Metrics by name.
            required: Whether a metric that no epoch has logged by its end is an error.
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
        looker: The plugin; at the end of epochs it looks in its own hook, and is returned itself.
    """
    frequency = settings.frequency
    if frequency.unit == "epoch":
        return looker
    return ValidationLooks(settings, looker) if frequency.unit == "validation" else BatchLooks(settings, looker)


class _SavedLooks(TypedDict):
    """What a checkpoint stores of a plugin that looks at the end of validations."""

    looker: dict[str, Any]
    seen: Flag


class ValidationLooks:
    """Looks at the end of every validation.

    Args:
        settings: The options of the callback.
        looker: What looks.
    """

    def __init__(self, settings: ComparisonSettings, looker: Looker) -> None:
        self.settings, self.looker, self.seen = settings, looker, False
        self.on_train_begin = looker.on_train_begin
        _lend_end(self, looker)

    @hookimpl
    def on_validation_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Look."""
        self.seen = True
        return self.looker.look_between(run, metrics, required=True)

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        """Raise an error if the epoch should have had a validation, and none was reported."""
        if not self.seen and run.state.validates(run.epoch):
            raise MissingMetric(
                f"{type(self.settings).__name__}: every='validation', but epoch {run.epoch + 1} has reported no "
                'validation; validate inside `with run.validation():`, or set every="epoch"'
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"looker": self.looker.state_dict(), "seen": self.seen}

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        self.looker.check_state_dict(parsed(TypeAdapter(_SavedLooks), saved)["looker"])

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.looker.load_state_dict(saved["looker"])
        self.seen = saved["seen"]


class _SavedBatchLooks(TypedDict):
    """What a checkpoint stores of a plugin that looks at the end of batches."""

    looker: dict[str, Any]
    schedule: NotRequired[SavedLookSchedule]
    known: Flag
    missed: Flag
    stamps: dict[Text, tuple[Number, Step, Score]]


class BatchLooks:
    """Looks at the end of batches, after a number of weight updates or minutes.

    Args:
        settings: The options of the callback.
        looker: What looks.
    """

    schedule: LookSchedule

    def __init__(self, settings: ComparisonSettings, looker: Looker) -> None:
        self.settings, self.looker = settings, looker
        self.known = self.missed = self.checked = False
        """Whether any due batch had a new value of a metric, whether any lacked it, and whether an epoch has ended."""
        self.stamps: dict[str, tuple[int, int, float]] = {}
        """Name to the epoch, the validation and the number of samples of the value that was seen last."""
        _lend_end(self, looker)

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Prepare for the run, and start the schedule."""
        self.looker.on_train_begin(run)
        self.schedule = LookSchedule(self.settings.frequency, run.step)
        if self.settings.value == "last":
            run.state.means.keep_last()

    @hookimpl
    def on_batch_end(self, run: Run, step: int, metrics: Mapping[str, Any]) -> Decision | None:
        """Look if due."""
        if not self.schedule.is_due(step):
            return None
        new = self._new_values(run, metrics)
        self.known, self.missed = self.known or bool(new), self.missed or not new
        return self.looker.look_between(run, new, required=False) if new else None

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        """Report a loop without batches; raise an error if no due batch has logged the metric."""
        every = self.settings.every
        if not self.checked:
            self.checked = True
            lost = f"every={every!r} has not looked at the metric"
            report_uncounted(run, self, lost, steps=self.settings.frequency.unit == "step")
        if self.missed and not self.known:
            names = ", ".join(map(repr, self.looker.names))
            raise MissingMetric(
                f"{type(self.settings).__name__}: {names} has no value when a batch ends, so every={every!r} would "
                f'never look; monitor one that has (logged: {", ".join(metrics)}), or set every="epoch"'
            )

    def _new_values(self, run: Run, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics that have a new value since the last look."""
        new: dict[str, Any] = {}
        means = metrics if isinstance(metrics, RunningMeans) else None
        if self.settings.value == "last":
            if means is None:
                raise MissingMetric(
                    f"{type(self.settings).__name__}: value='last', but this loop reports only means of the epoch; "
                    'set value="mean"'
                )
            metrics = means.last_values()
        for name in self.looker.names:
            logged = resolve(name, metrics)
            if logged is None:
                continue
            stamp = None if means is None else means.stamp(logged)
            if stamp is not None:
                if self.stamps.get(logged) == (run.epoch, *stamp):
                    continue
                self.stamps[logged] = run.epoch, *stamp
            new[logged] = metrics[logged]
        return new

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {
            "looker": self.looker.state_dict(),
            "schedule": self.schedule.state_dict(),
            "known": self.known,
            "missed": self.missed,
            "stamps": {name: list(stamp) for name, stamp in self.stamps.items()},
        }

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        self.looker.check_state_dict(parsed(TypeAdapter(_SavedBatchLooks), saved)["looker"])

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.looker.load_state_dict(saved["looker"])
        self.schedule.load_state_dict(saved["schedule"])
        self.known, self.missed = saved["known"], saved["missed"]
        self.stamps = {name: (epoch, restart, count) for name, (epoch, restart, count) in saved["stamps"].items()}


def _lend_end(plugin: Any, looker: Looker) -> None:
    """Let the run call the looker's hook at the end of the training, if it has one."""
    end = getattr(looker, "on_train_end", None)
    if end is not None:
        plugin.on_train_end = end
