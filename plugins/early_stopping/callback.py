"""Stop the training when a metric has stopped improving."""
# The other callbacks monitor one metric.
# pyright: reportIncompatibleVariableOverride=false

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, NonNegativeInt, StringConstraints, ValidationInfo, field_validator

from trainbus.callback import Mode
from trainbus.callback.planned_training import PlannedTraining
from trainbus.capabilities import Snapshotable
from trainbus.errors import UnknownDirection
from trainbus.metrics.direction import direction_of
from trainbus.metrics.names import canonical
from trainbus.metrics.smoothing import check_smoothing

from ..comparison import ComparisonSettings, looking
from .stopper import Stopper

_Name = Annotated[str, StringConstraints(min_length=1)]
_Names: TypeAlias = _Name | tuple[_Name, ...]
_Modes: TypeAlias = Mode | tuple[Mode, ...]


def _as_tuple(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _names(monitor: _Names) -> tuple[str, ...]:
    return (monitor,) if isinstance(monitor, str) else monitor


class EarlyStopping(ComparisonSettings):
    """Stop when the monitored metric has not improved for ``patience`` epochs.

    Epochs that log no value of the metric do not count. A value that is not finite is never an improvement. By default
    the rule is that of Keras 3.15.1; the other options are those of PyTorch Lightning, Ignite, skorch and Hugging Face.

    >>> EarlyStopping(monitor="val_loss", patience=3)
    EarlyStopping(monitor='val_loss', verbose=0, mode='auto', min_delta=0.0, ...
    >>> EarlyStopping(monitor=["val_loss", "val_f1"], stop_when="all", patience=3).monitor
    ('val_loss', 'val_f1')
    """

    monitor: Annotated[_Names, BeforeValidator(_as_tuple)] = "val_loss"  # type: ignore[assignment]
    """Name under which the metric is logged, or a list of several names: the first decides which weights are
    restored, and ``stop_when`` says how many must have stopped improving."""
    mode: Annotated[_Modes, BeforeValidator(_as_tuple)] = "auto"  # type: ignore[assignment]
    """Whether lower ("min") or higher ("max") values are better; "auto" takes the direction from the metric object, or
    else from the metric's name. With several metrics, a list with one for each, or one for all."""
    stop_when: Literal["any", "all"] = "any"
    """With several metrics, whether the training stops when any has not improved for ``patience`` epochs, or all."""
    patience: NonNegativeInt = 0
    """Epochs without improvement after which the training stops; 0 means 1. With ``every``, looks instead of epochs."""
    baseline: float | None = None
    """Value of the metric that an improvement must also beat to reset the wait."""
    stopping_threshold: float | None = None
    """Stop at once when the metric is better than this value."""
    divergence_threshold: float | None = None
    """Stop at once when the metric is worse than this value."""
    check_finite: bool = False
    """Whether to stop at once when the metric is NaN or infinite."""
    min_epochs: NonNegativeInt = 0
    """Epochs before which this callback never stops the training; each look asks anew."""
    min_steps: NonNegativeInt = 0
    """Weight updates before which this callback never stops the training; each look asks anew."""
    reset_on_lr_cut: bool = False
    """Whether the patience starts anew after the learning rate was cut, so that the training continues at the new rate.
    A cut in the epoch in which this callback would stop comes first: the training goes on."""
    restore_best_weights: bool = False
    """Whether to restore the weights of the best epoch at the end of training, unless an error ended it."""
    start_from_epoch: NonNegativeInt = 0
    """First epoch, counted from 0, whose metric is used; earlier epochs need not log it."""
    smoothing: Annotated[str | None, AfterValidator(check_smoothing)] = None
    """How to smooth the metric before it is compared: "ema 0.9" is an exponential moving average with decay 0.9,
    "median 5" is the median of the last 5 values. The best epoch is then that of the smoothed metric.
    """
    elsewhere: ClassVar[Mapping[str, str]] = {
        "check_on_train_epoch_end": 'every="epoch" or every="validation"',
        "cumulative": "cumulative_delta",
        "early_stopping_patience": "patience",
        "early_stopping_threshold": "min_delta and cumulative_delta=False",
        "eval_delay": "start_from_epoch",
        "eval_steps": 'every="validation"',
        "eval_strategy": 'every="validation"',
        "greater_is_better": 'mode="max" or mode="min"',
        "load_best": "restore_best_weights",
        "load_best_model_at_end": "restore_best_weights",
        "log_rank_zero_only": "nothing: one rank reports",
        "lower_is_better": 'mode="min" or mode="max"',
        "metric_for_best_model": "monitor",
        "n_iter_no_change": "patience",
        "rounds": "patience",
        "score_function": "monitor, with mode",
        "sink": "verbose",
        "stopping_rounds": "patience",
        "strict": "nothing: a metric that no epoch logs is an error",
        "threshold": "min_delta",
        "threshold_mode": "min_delta_mode",
        "tol": "min_delta",
        "trainer": "nothing: the run stops itself",
        "warmup": "start_from_epoch",
    }

    def monitored(self) -> tuple[tuple[str, Mode], ...]:
        """Return each monitored metric and its mode."""
        names = _names(self.monitor)
        modes = (self.mode,) * len(names) if isinstance(self.mode, str) else self.mode
        return tuple(zip(names, modes, strict=True))

    def bounds(self, sign: int) -> dict[str, Any]:
        """Return the values that the metric must beat or not cross, as arguments of ``early_stopping_rule``.

        Args:
            sign: 1 if higher values of the metric are better, else -1.
        """
        given = (self.baseline, -inf), (self.stopping_threshold, inf), (self.divergence_threshold, -inf)
        names = ("baseline", "stopping_threshold", "divergence_threshold")
        bounds = {
            name: none if value is None else sign * value for name, (value, none) in zip(names, given, strict=True)
        }
        return {**bounds, "check_finite": self.check_finite}

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with a patience of at least 1."""
        settings = super().effective_settings(subject)
        several = len(self.monitored()) > 1
        return {
            **{name: value for name, value in settings.items() if several or name != "stop_when"},
            "patience": max(self.patience, 1),
        }

    def epoch_options(self) -> Mapping[str, str]:
        """Return the options that count epochs."""
        held = {name: number for name in ("min_epochs", "start_from_epoch") if (number := getattr(self, name))}
        return {**super().epoch_options(), **{f"{name}={number}": "give min_steps" for name, number in held.items()}}

    def idle_reason(self, planned: PlannedTraining) -> str:
        """Return why it never looks at the metric, or never stops if it does not restore weights either."""
        last = planned.epochs.stop
        if self.start_from_epoch >= last:
            return f"it never looks at the metric: start_from_epoch={self.start_from_epoch}, but {planned.in_words()}"
        reason = self.never_looks(planned)
        if reason or self.restore_best_weights:
            return reason
        if self.min_epochs > last:
            return f"it never stops the training: min_epochs={self.min_epochs}, but {planned.in_words()}"
        if planned.steps is not None and self.min_steps > planned.steps.stop:
            known = planned.in_words(planned.steps.stop, "step")
            return f"it never stops the training: min_steps={self.min_steps}, but {known}"
        if self.check_finite or (self.stopping_threshold, self.divergence_threshold) != (None, None):
            return ""
        reason = self.never_waits_out(planned, self.patience, max(self.patience, 1), self.start_from_epoch)
        return reason and f"it never stops the training: {reason}"

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether the metrics, their directions and the smoothing are the same."""
        return super().compatible_with(earlier, subject) and earlier.get("smoothing") == self.smoothing

    def requires(self) -> tuple[type, ...]:
        """Require a subject with snapshots if the best weights are to be restored."""
        return (Snapshotable,) if self.restore_best_weights else ()

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return looking(self, Stopper(self))

    @field_validator("monitor")
    @classmethod
    def _check_names(cls, value: _Names) -> _Names:
        names = _names(value)
        if not names:
            raise ValueError("give at least one name")
        same = [canonical(each) for each in names]
        twice = next((number for number, each in enumerate(same) if each in same[:number]), None)
        if twice is not None:
            first = names[same.index(same[twice])]
            alias = "" if first == names[twice] else f", as {first!r}"
            raise ValueError(f"{names[twice]!r} is listed twice{alias}; remove one")
        return value

    @field_validator("mode")
    @classmethod
    def _check_modes(cls, value: _Modes, info: ValidationInfo) -> _Modes:
        count = len(_names(info.data.get("monitor", ())))
        if isinstance(value, tuple) and count and len(value) != count:
            raise ValueError(f"monitor has {count} and mode has {len(value)} entries; give one mode for each metric")
        return value

    @field_validator("stop_when")
    @classmethod
    def _check_several(cls, value: str, info: ValidationInfo) -> str:
        names = _names(info.data.get("monitor", ()))
        if value == "all" and len(names) == 1:
            raise ValueError(f"monitor={names[0]!r} is one metric; give a list of several, or leave stop_when out")
        return value

    @field_validator("baseline", "stopping_threshold", "divergence_threshold", "tie_breaker")
    @classmethod
    def _check_single(cls, value: Any, info: ValidationInfo) -> Any:
        count = len(_names(info.data.get("monitor", ())))
        if value is not None and count > 1:
            raise ValueError(f"it is for one metric, but monitor names {count}; list another EarlyStopping for it")
        return value

    @field_validator("divergence_threshold")
    @classmethod
    def _check_thresholds(cls, value: float | None, info: ValidationInfo) -> float | None:
        good: float | None = info.data.get("stopping_threshold")
        names, modes = _names(info.data.get("monitor", ())), info.data.get("mode", ())
        if value is None or good is None or len(names) != 1 or not modes:
            return value
        mode = modes if isinstance(modes, str) else modes[0]
        with suppress(UnknownDirection):
            mode = direction_of(names[0]) if mode == "auto" else mode
        if (mode == "min" and value <= good) or (mode == "max" and value >= good):
            side, words = ("above", "lower") if mode == "min" else ("below", "higher")
            raise ValueError(
                f"with stopping_threshold={good:g} every {names[0]} would stop at once, since {words} is better; give "
                f"a divergence_threshold {side} {good:g}"
            )
        return value
