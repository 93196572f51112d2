"""Trials of Optuna that are pruned by what a run reports."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import MissingMetric, Run, SettingsError, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint, TensorBoard
from trainbus.testing import LineSubject

optuna = pytest.importorskip("optuna")
from trainbus.adapters.optuna import PruningCallback  # noqa: E402

EPOCHS = 6


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def median(**options: Any) -> Any:
    return optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1), **options)


def loss_of(trial: int, epoch: int) -> float:
    """Return a loss that falls in each trial; each later trial is worse."""
    return 1 / (epoch + 1) + trial


def trained(callbacks: Any, trial: int, name: str = "val_loss", epochs: int = EPOCHS, **options: Any) -> Run:
    with Run(LineSubject(), callbacks, verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            run.log({name: loss_of(trial, epoch)})
    return run


def states(study: Any) -> list[str]:
    return [each.state.name for each in study.trials]


# --- pruning


@pytest.mark.filterwarnings("ignore:PatientPruner is experimental")
def test_trials_are_pruned_as_by_a_loop_that_reports_itself() -> None:
    """The same states and the same reported values, for several trials in one process."""

    def by_hand(trial: Any) -> float:
        for epoch in range(EPOCHS):
            trial.report(loss_of(trial.number % 3, epoch), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss_of(trial.number % 3, EPOCHS - 1)

    def by_run(trial: Any) -> float:
        run = trained([PruningCallback(trial), ModelCheckpoint(f"trials/{trial.number}/m")], trial.number % 3)
        return float(run.metrics["val_loss"])

    for pruner in (
        optuna.pruners.MedianPruner(n_startup_trials=1),
        optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        optuna.pruners.PatientPruner(optuna.pruners.PercentilePruner(50, n_startup_trials=1), patience=1),
        optuna.pruners.ThresholdPruner(upper=1.4),
        optuna.pruners.NopPruner(),
    ):
        hand, ours = (optuna.create_study(pruner=pruner) for _ in range(2))
        hand.optimize(by_hand, n_trials=6)
        ours.optimize(by_run, n_trials=6)

        assert states(ours) == states(hand)
        assert [each.intermediate_values for each in ours.trials] == [each.intermediate_values for each in hand.trials]
        assert [each.value for each in ours.trials] == [each.value for each in hand.trials]


def test_a_pruned_run_ends_in_order() -> None:
    runs: list[Run] = []
    closed: list[str] = []

    class Closes:
        @hookimpl
        def on_train_begin(self, run: Run) -> None:
            runs.append(run)
            run.at_end(lambda: closed.append("closed"))

        @hookimpl
        def on_train_end(self) -> None:
            closed.append("train end")

    def objective(trial: Any) -> float:
        folder = f"trials/{trial.number}"
        callbacks = [Closes(), PruningCallback(trial), Closes(), ModelCheckpoint(f"{folder}/m"), TensorBoard(folder)]
        return float(trained(callbacks, trial.number).metrics["val_loss"])

    study = median()
    study.optimize(objective, n_trials=2)

    assert states(study) == ["COMPLETE", "PRUNED"]
    assert closed == ["train end", "train end", "closed", "closed"] * 2
    pruned = runs[-1]
    assert (pruned.state.phase, pruned.error) == ("ended", None)
    assert pruned.result.reason == "pruned: val_loss 2 at epoch 1"
    lines = [json.loads(line) for line in Path("trials/1/journal.jsonl").read_text().splitlines()]
    assert any("pruned: val_loss 2 at epoch 1" in json.dumps(line) for line in lines)
    assert lines[-1]["event"] == json.loads(Path("trials/0/journal.jsonl").read_text().splitlines()[-1])["event"]
    assert Path("trials/1/m.npz").is_file()


def test_the_exception_has_the_reason() -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.0))
    with pytest.raises(optuna.TrialPruned, match=r"pruned: val_loss 1 at epoch 1"):
        trained(PruningCallback(study.ask()), 0)


def test_another_stop_is_not_pruned() -> None:
    study = median()
    run = trained([PruningCallback(study.ask()), EarlyStopping(patience=0, min_delta=9)], 0)

    assert "did not improve" in run.result.reason


def test_an_error_is_raised_and_not_the_pruning() -> None:
    class Fails:
        @hookimpl(trylast=True)
        def on_train_end(self) -> None:
            raise ValueError("full")

    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.0))
    with pytest.raises(ValueError, match="full"):
        trained([PruningCallback(study.ask()), Fails()], 0)


@pytest.mark.parametrize("name", ["val_accuracy", "val_f1", "accuracy", "reward"])
def test_metrics_of_which_higher_is_better(name: str) -> None:
    def objective(trial: Any) -> float:
        with Run(callbacks=PruningCallback(trial, name), verbose=0) as run:
            for _ in run.epochs(3):
                run.log({name: 1.0 - trial.number})
        return 1.0

    study = median(direction="maximize")
    study.optimize(objective, n_trials=3)

    assert states(study) == ["COMPLETE", "PRUNED", "PRUNED"]


def test_each_validation_is_reported() -> None:
    """An epoch with three validations has three reports, counted over the whole run."""
    study = median()
    trial = study.ask()
    with Run(callbacks=PruningCallback(trial, at="validation"), verbose=0) as run:
        for epoch in run.epochs(2):
            for number in range(3):
                with run.validation():
                    run.log(loss=10.0 - epoch - number / 10)

    assert study.trials[0].intermediate_values == {0: 10.0, 1: 9.9, 2: 9.8, 3: 9.0, 4: 8.9, 5: 8.8}


def test_a_validation_may_prune_in_the_middle_of_an_epoch() -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=9.85))
    trained_on: list[int] = []

    def objective(trial: Any) -> float:
        with Run(callbacks=PruningCallback(trial, at="validation"), verbose=0) as run:
            for _ in run.epochs(2):
                for batch in run.batches(range(6)):
                    trained_on.append(batch)
                    if batch % 2 == 1:
                        with run.validation():
                            run.log(loss=9.0 + batch)
        return 0.0

    study.optimize(objective, n_trials=1)

    assert states(study) == ["PRUNED"]
    assert trained_on == [0, 1]
    assert study.trials[0].intermediate_values == {0: 10.0}


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_reported_as_they_are(bad: float) -> None:
    """Optuna decides what they mean: the same as for a loop that reports itself."""

    def by_hand(trial: Any) -> float:
        trial.report(bad if trial.number else 1.0, 0)
        if trial.should_prune():
            raise optuna.TrialPruned
        return 1.0

    def by_run(trial: Any) -> float:
        with Run(callbacks=PruningCallback(trial), verbose=0) as run:
            for _ in run.epochs(1):
                run.log(val_loss=bad if trial.number else 1.0)
        return 1.0

    hand, ours = median(), median()
    hand.optimize(by_hand, n_trials=2)
    ours.optimize(by_run, n_trials=2)

    assert states(ours) == states(hand)
    assert repr(ours.trials[1].intermediate_values) == repr(hand.trials[1].intermediate_values)


def test_an_epoch_without_a_value_is_not_reported() -> None:
    study = median()
    with Run(callbacks=PruningCallback(study.ask()), verbose=0) as run:
        for epoch in run.epochs(4):
            run.log({"val_loss": None if epoch % 2 else 1.0 - epoch})

    assert study.trials[0].intermediate_values == {0: 1.0, 2: -1.0}


# --- refusals


@pytest.mark.parametrize(
    ("direction", "options", "message"),
    [
        ("minimize", {"monitor": "val_accuracy"}, "the study minimizes.*higher values of 'val_accuracy'.*'maximize'"),
        ("maximize", {}, "the study maximizes.*lower values of 'val_loss'.*'minimize'"),
        ("maximize", {"monitor": "val_rmse"}, "lower values of 'val_rmse'"),
        ("minimize", {"monitor": "thing", "mode": "max"}, "higher values of 'thing'"),
        ("maximize", {"monitor": "thing", "mode": "min"}, "lower values of 'thing'"),
        ("minimize", {"monitor": "val_loss", "mode": "max"}, "higher values of 'val_loss'"),
    ],
)
def test_the_opposite_direction_is_refused_before_the_training(
    direction: str, options: dict[str, Any], message: str
) -> None:
    trial = optuna.create_study(direction=direction).ask()
    with pytest.raises(SettingsError, match=message):
        trained(PruningCallback(trial, **options), 0)

    assert trial.study.trials[0].intermediate_values == {}


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_study_has_the_direction_of_an_unknown_metric(direction: str) -> None:
    study = optuna.create_study(direction=direction)
    trained(PruningCallback(study.ask(), "thing"), 0, name="thing", epochs=2)

    assert study.trials[0].intermediate_values == {0: 1.0, 1: 0.5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda trial: PruningCallback(trial, at="batch"), "at='batch': give 'epoch' or 'validation'"),
        (lambda trial: PruningCallback(trial, mode="minimize"), "mode='minimize': give 'auto', 'min' or 'max'"),
        (lambda trial: PruningCallback(trial, "loss", at="validation"), "give monitor='val_loss' or at='epoch'"),
        (lambda trial: PruningCallback("val_loss"), "give the trial that Optuna gives to the objective"),
        (lambda trial: PruningCallback(trial.study), "give the trial"),
        (lambda trial: PruningCallback(trial, metric="val_loss"), "unknown argument 'metric'"),
        (lambda trial: PruningCallback(), "trial"),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make(optuna.create_study().ask())


def test_several_objectives_are_refused() -> None:
    trial = optuna.create_study(directions=["minimize", "maximize"]).ask()
    with pytest.raises(SettingsError, match="a study with 2 objectives"):
        PruningCallback(trial)


@pytest.mark.parametrize("monitor", ["val_los", "val_acuracy", "los", "valloss", "val/los"])
def test_a_wrong_metric_is_refused_in_the_first_epoch(monitor: str) -> None:
    study = optuna.create_study()
    with pytest.raises(MissingMetric, match=f"'{monitor}' is not logged"):
        trained(PruningCallback(study.ask(), monitor, mode="min"), 0)

    assert study.trials[0].intermediate_values == {}


def test_a_callback_of_an_earlier_trial_is_refused() -> None:
    study = median()
    callback = PruningCallback(study.ask())
    trained(callback, 0)
    with pytest.raises(SettingsError, match="make a new one for each trial"):
        trained(callback, 0)


def test_fixed_trials_are_never_pruned() -> None:
    assert trained(PruningCallback(optuna.trial.FixedTrial({})), 0).result.epochs == EPOCHS


# --- resuming


def killed(trial: Any, epoch: int, **options: Any) -> None:
    """Train in a process of its own that is killed at the begin of an epoch."""
    child = os.fork()
    if child == 0:

        class Kills:
            @hookimpl
            def on_epoch_begin(self, epoch: int) -> None:
                if epoch == options["at"]:
                    os.kill(os.getpid(), signal.SIGKILL)

        options["at"] = epoch
        try:
            trained([PruningCallback(trial), ModelCheckpoint("m", save_freq="epoch"), Kills()], 0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    "epoch", [3, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in range(1, EPOCHS) if each != 3)]
)
@pytest.mark.parametrize("same", [True, False], ids=["the same trial", "another trial"])
def test_a_killed_trial_is_resumed(epoch: int, same: bool) -> None:
    """The trial has each value once: those of before the kill too, if it is another trial."""
    study = optuna.create_study()  # in memory: what the killed process has reported is lost
    trial = study.ask()
    killed(trial, epoch)
    if same:
        for number in range(epoch):
            trial.report(loss_of(0, number), number)
    else:
        trial = study.ask()
    trained([PruningCallback(trial), ModelCheckpoint("m")], 0, resume="auto")

    assert study.trials[-1].intermediate_values == {number: loss_of(0, number) for number in range(EPOCHS)}


def test_a_pruned_trial_stays_pruned() -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.45, n_warmup_steps=1))
    with pytest.raises(optuna.TrialPruned, match="at epoch 2"):
        trained([PruningCallback(study.ask()), ModelCheckpoint("m")], 0)
    study.pruner = optuna.pruners.NopPruner()
    epochs: list[int] = []

    class Counts:
        @hookimpl
        def on_epoch_end(self, epoch: int) -> None:
            epochs.append(epoch)

    with pytest.raises(optuna.TrialPruned, match="at epoch 2"):
        trained([PruningCallback(study.ask()), ModelCheckpoint("m"), Counts()], 0, resume="auto")
    assert epochs == []


# --- in other loops


def test_it_prunes_in_a_binding() -> None:
    """The exception passes through the framework to the objective."""
    xgboost = pytest.importorskip("xgboost")
    from trainbus.adapters.xgboost import XGBoostCallback  # noqa: PLC0415

    x = np.random.default_rng(0).normal(size=(80, 3))
    data = xgboost.DMatrix(x, x.sum(1) > 0)
    runs: list[Run] = []

    def objective(trial: Any) -> float:
        callback = XGBoostCallback(PruningCallback(trial), verbose=0)
        params = {"objective": "binary:logistic", "eta": 0.5 / (1 + trial.number), "nthread": 1}
        try:
            xgboost.train(params, data, 8, evals=[(data.slice(range(40)), "val")], callbacks=[callback], verbose_eval=0)
        finally:
            runs.append(callback.run)
        return float(callback.run.metrics["val_loss"])

    study = median()
    study.optimize(objective, n_trials=3)

    assert states(study) == ["COMPLETE", "PRUNED", "PRUNED"]
    assert all(run.state.phase == "ended" for run in runs)
