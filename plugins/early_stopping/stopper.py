"""The plugin of EarlyStopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from trainbus import Decision, Run, decision, hookimpl
from trainbus.decision import NOTHING, ScaleLearningRate
from trainbus.resume.checks.plugin_values import Flag, Number, Step, parsed
from trainbus.rules import held_back, stopping_rule

from ..comparison import ComparedMetric
from ..unused_batches import report_no_updates
from .tracked_metric import SavedMetric, TrackedMetric

if TYPE_CHECKING:
    from .callback import EarlyStopping

RULE = stopping_rule.__name__


class _Saved(TypedDict):
    """What a checkpoint stores of the plugin."""

    metrics: list[SavedMetric]
    stalled: list[Flag]
    looks: Step
    cuts: tuple[Number, Step]


class Stopper:
    """The state of one run.

    Args:
        settings: The options of the callback.
    """

    def __init__(self, settings: EarlyStopping) -> None:
        self.settings = settings
        self.metrics = [TrackedMetric(settings, *each) for each in settings.monitored()]
        self.stalled = [False] * len(self.metrics)
        """Whether the last look at each metric asked to stop."""
        self.looks, self.checked = 0, False
        self.cuts = _Cuts()
        self.slot = f"best {self.metrics[0].name}"
        self._options = settings.model_dump(
            include={"patience", "start_from_epoch", "baseline", "smoothing"}
            | {name for name in ("min_epochs", "min_steps", "reset_on_lr_cut") if getattr(settings, name)}
        )

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Prepare for the run."""
        for each in self.metrics:
            each.begin(run)

    @property
    def compared(self) -> list[ComparedMetric]:
        """The metrics that it reads."""
        return [each.compared for each in self.metrics]

    @property
    def first_epoch(self) -> int:
        """The first epoch, counted from 0, in which it looks."""
        return self.settings.start_from_epoch

    def check_epoch(self, run: Run, plugin: object) -> None:
        """Report at the end of the first epoch a loop whose weight updates are not counted, if they must be."""
        if self.settings.min_steps and not self.checked:
            report_no_updates(run, plugin, f"min_steps={self.settings.min_steps} holds back every stop")
        self.checked = True

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Look at the metrics of the epoch."""
        self.check_epoch(run, self)
        return self.look(run, metrics, run.epoch, required=True)

    def look_between(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        """Look at metrics that may be some of an epoch; inside of epochs, the rule counts looks instead of epochs."""
        number = run.epoch if self.settings.frequency.in_epochs else self.looks
        return self.look(run, metrics, number, required=False)

    def look(self, run: Run, metrics: Mapping[str, Any], number: int, *, required: bool) -> Decision | None:
        """Return what follows from the metrics.

        Args:
            run: The run.
            metrics: Metrics by name.
            number: The number of the look, counted from 0; of an epoch, if it is the epoch's end.
            required: Whether a metric that no epoch has logged by its end is an error.
        """
        settings = self.settings
        if settings.reset_on_lr_cut and self.cuts.are_new(run.state.decision_log):
            for each in self.metrics:
                each.restart_patience()
            self.stalled = [False] * len(self.metrics)
        looks = [each.look(run, metrics, number, required=required) for each in self.metrics]
        if not any(looks):
            return None
        self.looks += 1
        self.stalled = [was if each is None else each.stop for was, each in zip(self.stalled, looks, strict=True)]
        answer, first = NOTHING, looks[0]
        if first is not None and first.is_best and settings.restore_best_weights:
            answer = decision.keep(self.slot, first.improvement, rule=RULE, values=self._values(first.values))
        stopping = [each for each in looks if each is not None and each.stop]
        at_once = any(each.crossed for each in stopping)
        due = all(self.stalled) if settings.stop_when == "all" and not at_once else bool(stopping)
        if due and not held_back(run.epoch, run.step, min_epochs=settings.min_epochs, min_steps=settings.min_steps):
            reason = " and ".join(each.reason for each in stopping)
            values = self._values(stopping[0].values)
            answer |= decision.stop(reason, unless_cut=settings.reset_on_lr_cut, rule=RULE, values=values)
        return answer or None

    @hookimpl
    def on_train_end(self, run: Run) -> Decision | None:
        """Restore the best weights; after an error, the user wants to inspect the weights that led to it."""
        first = self.metrics[0]
        if not self.settings.restore_best_weights or first.state.best_epoch < 0 or run.error is not None:
            return None
        return decision.restore(self.slot, first.best_in_words(), rule=RULE, values=self._values(first.values(None)))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {
            "metrics": [each.state_dict() for each in self.metrics],
            "stalled": self.stalled,
            "looks": self.looks,
            "cuts": list(self.cuts.seen),
        }

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        state = parsed(_Saved, saved)
        metrics = state["metrics"]
        if {len(metrics), len(state["stalled"])} != {len(self.metrics)}:
            raise ValueError(f"it has {len(metrics)} metrics in place of {len(self.metrics)}")
        for each, own in zip(self.metrics, metrics, strict=True):
            each.check_state_dict(own)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        for each, state in zip(self.metrics, saved["metrics"], strict=True):
            each.load_state_dict(state)
        self.stalled, self.looks = list(saved["stalled"]), saved["looks"]
        first, number = saved["cuts"]
        self.cuts.seen = first, number

    def _values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**values, **self._options}


class _Cuts:
    """Notices that the learning rate was cut since the last look."""

    def __init__(self) -> None:
        self.seen = (-1, 0)
        """The epoch of the last cut that was noticed, and the number of cuts in this epoch."""
        self._last = (-1, 0)
        self._read = 0

    def are_new(self, log: Any) -> bool:
        """Return whether the log has a cut that was not noticed before."""
        for epoch, executed in log[self._read :]:
            if any(isinstance(action, ScaleLearningRate) for action in executed):
                self._last = epoch, (self._last[1] + 1 if epoch == self._last[0] else 1)
        self._read = len(log)
        new, self.seen = self._last > self.seen, max(self._last, self.seen)
        return new
