"""The plugin of ModelCheckpoint that saves inside of epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from trainbus import Decision, Run, hookimpl
from trainbus.metrics.names import is_validated, resolve
from trainbus.metrics.scalars import is_missing
from trainbus.resume.checks.plugin_values import Flag, Number, Score, Step, parsed

from ..frequency import Frequency, SavedSchedule, Schedule
from ..unused_batches import report_uncounted
from .saver import SavedSaver, Saver
from .settings import CheckpointSettings


class _SavedBatchSaver(SavedSaver):
    """What a checkpoint stores of the plugin; one that was saved at the end of epochs has only that of a saver."""

    schedule: NotRequired[SavedSchedule]
    waiting: NotRequired[Flag]
    compared: NotRequired[tuple[Number, Step, Score]]
    validations: NotRequired[Step]


class BatchSaver:
    """Saves at the end of batches: after a validation, or a number of batches, steps, seconds or percents.

    A save for which the metric is needed waits for the next value of it: for the end of the batch, or else of the
    epoch, in which the next validation is. All weight updates of that batch are then in the file, and a resume goes on
    behind it.

    Args:
        settings: The options of the callback.
        frequency: When a save is due.
    """

    schedule: Schedule

    def __init__(self, settings: CheckpointSettings, frequency: Frequency) -> None:
        self.saver, self.frequency = Saver(settings), frequency
        self.on_train_end, self.on_exception = self.saver.on_train_end, self.saver.on_exception
        self.on_checkpoint_error, self.on_decision = self.saver.on_checkpoint_error, self.saver.on_decision
        self.validated = False
        """Whether a validation since the last batch has logged the metric, or may have."""
        self.validations, self.reached = 0, False
        """How many validations of the run have ended, and whether one since the last batch was one to save at."""
        self.waiting = False
        """Whether a save is due that waits for a value of the metric."""
        self.compared = (-1, 0, 0.0)
        """Epoch, validation and count of the value by which the last model was compared, without validation events."""
        self.checked = False
        """Whether the first epoch has ended, in which batches and steps are checked."""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Prepare for the run, and start the schedule."""
        self.saver.on_train_begin(run)
        self.schedule = Schedule(self.frequency, run.step, "save_freq", "ModelCheckpoint")

    @hookimpl
    def on_validation_end(self, metrics: Mapping[str, Any]) -> None:
        """Note that the end of the batch, or of the epoch, has a model that was validated, and by the metric."""
        monitor = self.saver.selection.monitor
        name = None if monitor is None else resolve(monitor.metric, metrics)
        # an adapter may report the metrics only at the end of the epoch
        self.validated |= not metrics or (name is not None and not is_missing(metrics[name]))
        self.validations += 1
        if self.frequency.unit == "validation" and self.validations % int(self.frequency.every) == 0:
            self.reached = True

    @hookimpl
    def on_batch_end(self, run: Run, batch: int, metrics: Mapping[str, Any]) -> Decision | None:
        """Save if due."""
        due = self.schedule.is_due(run, batch) or self.reached
        settings, saver, validated = self.saver.settings, self.saver, self.validated
        self.validated = self.reached = False
        if not (due or self.waiting):
            return None
        if saver.selection.monitor is None or self._has_new_value(run, metrics, validated=validated):
            self.waiting = False
            return saver.save(run, metrics, required=False)
        self.waiting = True
        if not due:
            return None
        if settings.save_best_only or not settings.keep_last:
            return saver.save_last(run, metrics)
        others = {name: metrics[name] for name in metrics if not self._is_monitored(name)}
        return saver.save(run, others, required=False)

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Save what has waited for the metrics of the epoch; report a loop without batches."""
        validated, reached = self.validated, self.reached
        self.validated = self.reached = False
        if not self.checked:
            self.checked, freq = True, self.saver.settings.save_freq
            if self.frequency.unit in ("batch", "step", "second"):
                report_uncounted(run, self, f"save_freq={freq!r} has not saved", steps=self.frequency.unit == "step")
        due = self.schedule.is_due_after(run) or reached or self.waiting
        if not due:
            return None
        if self.saver.selection.monitor is not None and not self._has_new_value(run, metrics, validated=validated):
            self.waiting = True
            return None
        self.waiting = False
        return self.saver.save(run, metrics)

    def _is_monitored(self, name: str) -> bool:
        monitor = self.saver.selection.monitor
        return monitor is not None and resolve(monitor.metric, [name]) is not None

    def _has_new_value(self, run: Run, metrics: Mapping[str, Any], *, validated: bool) -> bool:
        """Return whether the metric has a value of the present model; if so, the model is compared by it.

        Args:
            run: The run.
            metrics: Metrics by name.
            validated: Whether a validation since the last batch has logged the metric.
        """
        monitor, means = self.saver.selection.monitor, run.state.means
        name = None if monitor is None else resolve(monitor.metric, metrics)
        if name is None or is_missing(metrics[name]):
            return False
        if not is_validated(name):
            return True
        if validated or run.state.validated:
            return validated
        # a loop may log its validations without an event; an adapter may report them only at the end of the epoch
        value = (run.epoch, *(means.stamp(name) if name in means else (0, 0.0)))
        known, self.compared = value == self.compared, value
        return not known

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the saver, the position in the schedule, and what waits."""
        own = {"schedule": self.schedule.state_dict(), "waiting": self.waiting, "compared": list(self.compared)}
        return {**self.saver.state_dict(), **own, "validations": self.validations}

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return; a saver at the end of epochs has no schedule."""
        parsed(_SavedBatchSaver, saved)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.saver.load_state_dict(saved)
        if "schedule" in saved:  # absent if the checkpoint was saved with save_freq="epoch"
            self.schedule.load_state_dict(saved["schedule"])
            self.waiting, self.validations = saved.get("waiting", False), saved.get("validations", 0)
            epoch, validation, count = saved.get("compared", self.compared)
            self.compared = epoch, validation, count
