"""Optuna: report the metric of each epoch or validation to a trial, and end the run if the study prunes it.

::

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        model, optimizer = make(rate)
        callbacks = [PruningCallback(trial, "val_loss"), ModelCheckpoint(f"trials/{trial.number}/best.pt")]
        with Run(TorchSubject(model, optimizer), callbacks) as run:
            for epoch in run.epochs(20):
                ...
        return run.result.best["val_loss"].value

    optuna.create_study(direction="minimize").optimize(objective, n_trials=50)
"""

# Optuna declares some types only partly
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from trainbus import Decision, MissingDependency, Run, SettingsError, UnknownDirection, decision, hookimpl
from trainbus.metrics.monitor import Monitor
from trainbus.metrics.names import is_validated
from trainbus.settings.arguments import checked

try:
    import optuna
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[optuna]'") from error

__all__ = ["PruningCallback"]

USAGE = "Run(subject, [*callbacks, PruningCallback(trial)])"
"""What a user writes, for messages."""

_AT = ("epoch", "validation")
_MODES = ("auto", "min", "max")


class PruningCallback:
    """A plugin that reports a metric to an Optuna trial, and stops the run if the study prunes the trial.

    It works in every loop, and in the list of each binding. A run that is pruned stops in order: its last files are
    written and closed, and the journal has the reason. Then ``optuna.TrialPruned`` is raised, where the run ends. NaN
    is reported as it is; Optuna's pruners prune a trial whose values are all NaN. In a resumed run, the trial gets the
    values of the earlier epochs too, if it is another one than before.

    Give each trial directories of its own, such as ``f"trials/{trial.number}"``, and make a new PruningCallback for it.

    Args:
        trial: The trial.
        monitor: The metric to report.
        at: When to report it: at the end of each epoch, or after each validation, of which an epoch may have several.
            The step of a report is the number of the epoch or of the validation, counted from 0.
        mode: The direction in which the metric improves: "min" or "max"; "auto" takes it from the metric's name, or if
            the name does not show it, from the study.

    Raises:
        SettingsError: The study has several objectives or the opposite direction, or an argument is wrong.

    >>> def objective(trial):
    ...     with Run(callbacks=PruningCallback(trial), verbose=0) as run:
    ...         for epoch in run.epochs(3):
    ...             run.log(val_loss=float(trial.number))
    ...     return float(trial.number)
    >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
    >>> study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    >>> study.optimize(objective, n_trials=2)
    >>> [each.state.name for each in study.trials]
    ['COMPLETE', 'PRUNED']
    """

    @checked("PruningCallback")
    def __init__(
        self,
        trial: Any,
        monitor: str = "val_loss",
        at: Literal["epoch", "validation"] = "epoch",
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        if not callable(getattr(trial, "should_prune", None)):
            raise SettingsError(f"PruningCallback({trial!r}): give the trial that Optuna gives to the objective")
        if at not in _AT:
            raise SettingsError(f"PruningCallback: at={at!r}: give 'epoch' or 'validation'")
        if mode not in _MODES:
            raise SettingsError(f"PruningCallback: mode={mode!r}: give 'auto', 'min' or 'max'")
        if at == "validation" and not is_validated(monitor):
            raise SettingsError(
                f"PruningCallback: at='validation' reports metrics of validations, and monitor={monitor!r} is none of "
                f"them; give monitor='val_{monitor}' or at='epoch'"
            )
        study = getattr(trial, "study", None)
        if study is not None and len(study.directions) > 1:
            raise SettingsError(
                f"PruningCallback: Optuna prunes no trial of a study with {len(study.directions)} objectives; remove "
                "it from the callbacks"
            )
        self._trial, self._metric, self._at = trial, monitor, at
        self._mode: Literal["auto", "min", "max"] = mode
        self._study: Literal["min", "max"] | None = None
        if study is not None:
            self._study = "max" if study.direction == optuna.study.StudyDirection.MAXIMIZE else "min"
        self._monitor: Monitor | None = None
        self._values: dict[int, float] = {}
        self._pruned = ""
        self._failed = False

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Compare the metric's direction with that of the study."""
        if self._monitor is not None:
            raise SettingsError("this PruningCallback belongs to another run; make a new one for each trial")
        try:
            self._monitor = run.monitor(self._metric, self._mode)
            direction = self._monitor.direction
        except UnknownDirection:
            if self._study is None:
                raise
            direction = self._study
            self._monitor = run.monitor(self._metric, direction)
        if self._study not in (None, direction):
            asks, better = ("maximizes", "lower") if self._study == "max" else ("minimizes", "higher")
            raise SettingsError(
                f"the study {asks} its objective, but {better} values of {self._metric!r} are better; give the study "
                f"direction={'minimize' if direction == 'min' else 'maximize'!r}, or PruningCallback another monitor "
                f"or mode={self._study!r}"
            )
        run.at_end(lambda: self._raise_pruned(run))

    @hookimpl
    def on_validation_end(self, metrics: Mapping[str, Any]) -> Decision | None:
        """Report the validation."""
        return self._report(len(self._values), metrics) if self._at == "validation" else None

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        """Report the epoch."""
        return self._report(epoch, metrics) if self._at == "epoch" else None

    @hookimpl
    def on_exception(self) -> None:
        """Note that the run ends with an error, which is raised and not the pruning."""
        self._failed = True

    def _report(self, step: int, metrics: Mapping[str, Any]) -> Decision | None:
        assert self._monitor is not None
        value = self._monitor.value(metrics)
        if value is None:
            return None
        self._values[step] = value
        self._tell({step: value})
        if not self._trial.should_prune():
            return None
        self._pruned = f"pruned: {self._monitor.metric} {value:g} at {self._at} {step + 1}"
        return decision.stop(self._pruned)

    def _tell(self, values: Mapping[int, float]) -> None:
        """Report values that the trial does not have yet."""
        known = self._known()
        for step, value in values.items():
            if step not in known:
                self._trial.report(value, step)

    def _known(self) -> Mapping[int, float]:
        study = getattr(self._trial, "study", None)
        if study is None:
            return {}
        trials = study.get_trials(deepcopy=False)
        return next((each.intermediate_values for each in trials if each.number == self._trial.number), {})

    def _raise_pruned(self, run: Run) -> None:
        if self._pruned and not self._failed and not run.state.interrupted:
            raise optuna.TrialPruned(self._pruned)

    def state_dict(self) -> Mapping[str, Any]:
        """Return the reported values, and why the trial was pruned."""
        return {"values": [[step, value] for step, value in self._values.items()], "pruned": self._pruned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Report the values of the run that is resumed, unless the trial has them."""
        self._values = {int(step): float(value) for step, value in state["values"]}
        self._pruned = str(state["pruned"])
        self._tell(self._values)
