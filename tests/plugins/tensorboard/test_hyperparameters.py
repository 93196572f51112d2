"""The page of hyperparameters has the metrics of the weights that the run ends with."""

from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, TensorBoard
from trainbus.plugins.tensorboard.hyperparameters import HyperparameterPage
from trainbus.testing import LineSubject

from ..event_readers import scalars

LOSSES = [3.0, 1.0, 2.0, 2.5, 4.0]


def final(*callbacks: Any, losses: list[float] = LOSSES, **options: Any) -> dict[str, float]:
    """Return the metrics of the page of a run with these losses."""
    charts = TensorBoard("logs", **{"hparams": {"lr": 0.5}, **options})
    with Run(LineSubject(), [charts, *callbacks]) as run:
        for epoch in run.epochs(len(losses)):
            run.log(loss=losses[epoch], epochs=float(epoch))
            if epoch == 0:
                run.log(first=7.0)
    return {tag.removeprefix("hparam/"): value for (_, tag, _), value in scalars().items() if tag.startswith("hparam/")}


@pytest.mark.parametrize(
    ("patience", "restore", "epoch"), [(1, True, 1), (2, True, 1), (9, True, 1), (1, False, 2), (2, False, 3)]
)
def test_the_metrics_are_those_of_the_restored_epoch(patience: int, restore: bool, epoch: int) -> None:
    """A metric that this epoch did not log has the last value before it."""
    stopper = EarlyStopping(monitor="loss", patience=patience, restore_best_weights=restore)
    assert final(stopper) == {"loss": LOSSES[epoch], "epochs": epoch, "first": 7.0, "learning_rate": 0.5}


@pytest.mark.parametrize("losses", [[3.0], [3.0, 1.0], [1.0, 3.0, 2.0], LOSSES])
def test_without_a_restore_they_are_those_of_the_last_epoch(losses: list[float]) -> None:
    found = final(ModelCheckpoint("m", monitor="loss"), losses=losses)
    assert (found["loss"], found["epochs"], found["first"]) == (losses[-1], len(losses) - 1, 7.0)


def test_a_run_without_hyperparameters_has_no_page() -> None:
    assert final(hparams=None) == {}


def test_the_columns_are_declared_once() -> None:
    """TensorBoard shows the first ones in the file, so a resumed run writes no others."""
    written: list[tuple[int, Any]] = []
    page = HyperparameterPage({"lr": 0.5}, lambda step, _, material: written.append((step, material)), lambda *_: None)
    page.declare(1, {"loss": 1.0})
    page.declare(2, {"loss": 1.0, "f1": 0.5})
    assert (written, page.declared) == ([(1, ["hparam/loss"])], True)
