"""Rules that look and save at validations inside an epoch, beside those of Lightning in a real ``Trainer.fit``.

By design they differ: no model is compared by the value of an earlier validation. A save that is due between two
validations waits for the next one; Lightning saves the later model under the earlier model's value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .lightning_logs import quiet_lightning  # noqa: F401 - a fixture
from .trainings import BATCHES, EPOCHS, histories, saved, validated

lightning = pytest.importorskip("lightning.pytorch", reason="needs trainbus[test]")
pytestmark = pytest.mark.exhaustive
Mode = Literal["min", "max"]


class Validated(lightning.LightningModule):  # type: ignore[misc]
    """Logs the next of the values in each validation."""

    def __init__(self, values: Sequence[float], **plateau: Any) -> None:
        super().__init__()
        self.layer, self.values, self.plateau = torch.nn.Linear(1, 1), iter(values), plateau

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        self.log("val_score", torch.tensor(next(self.values)))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 1.0)
        if not self.plateau:
            return optimizer
        options = {name: self.plateau[name] for name in ("factor", "patience")}
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rest = {name: value for name, value in self.plateau.items() if name not in options}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_score", **rest}}


INTERVALS: list[tuple[dict[str, Any], range]] = [
    ({"val_check_interval": 0.25}, range(1, 17)),
    ({"val_check_interval": 0.5}, range(2, 17, 2)),
    ({"val_check_interval": 1.0}, range(4, 17, 4)),
    ({"val_check_interval": 3, "check_val_every_n_epoch": None}, range(3, 17, 3)),
    ({"val_check_interval": 6, "check_val_every_n_epoch": None}, range(6, 17, 6)),
    ({"check_val_every_n_epoch": 2}, range(8, 17, 8)),
]
"""When Lightning validates, and the weight updates after which that is, in ``EPOCHS`` epochs of ``BATCHES``."""


def in_lightning(module: Validated, callback: Any, when: dict[str, Any]) -> Any:
    """Return Lightning's trainer after the training."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        callbacks=[] if callback is None else [callback],
        max_epochs=EPOCHS,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=isinstance(callback, lightning.callbacks.ModelCheckpoint),
        num_sanity_val_steps=0,
        **when,
    )
    loader = torch.utils.data.DataLoader
    trainer.fit(module, loader(torch.zeros(BATCHES, 1)), loader(torch.zeros(1, 1)))
    return trainer


def scores(count: int, *, distinct: bool = False) -> Iterator[list[float]]:
    """Yield histories that are long enough for a validation in each batch."""
    for history in histories(count, distinct=distinct):
        extra = [2.0 + distinct * 2**-11 * (2 * number + 1) for number in range(EPOCHS * BATCHES)]
        yield (history + extra)[: EPOCHS * BATCHES]


@pytest.mark.parametrize(("when", "steps"), INTERVALS)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_patience_counts_validations(when: dict[str, Any], steps: range, mode: Mode) -> None:
    """The same weight update is the last, also in the middle of an epoch."""
    for number, values in enumerate(scores(8)):
        if number % 3 == 2:
            values[number // 2] = math.nan
        options: dict[str, Any] = {"patience": number % 3 + 1, "check_finite": number % 2 == 0}
        theirs = lightning.callbacks.EarlyStopping("val_score", mode=mode, min_delta=(0.0, 0.5)[number % 2], **options)
        trainer = in_lightning(Validated(values), theirs, when)
        callback = EarlyStopping(
            monitor="val_score", mode=mode, min_delta=(0.0, 0.5)[number % 2], every="validation", **options
        )

        assert validated(values, callback, steps).step == trainer.global_step, (values, options)


@pytest.mark.parametrize(("when", "steps"), INTERVALS)
@pytest.mark.parametrize("thresholds", [{"stopping_threshold": 0.25}, {"divergence_threshold": 2.5}])
def test_thresholds_at_validations(when: dict[str, Any], steps: range, thresholds: dict[str, float]) -> None:
    """They end the epoch at once, too."""
    for values in scores(5):
        its = lightning.callbacks.EarlyStopping("val_score", patience=9, **thresholds)
        callback = EarlyStopping(monitor="val_score", mode="min", patience=9, every="validation", **thresholds)

        assert validated(values, callback, steps).step == in_lightning(Validated(values), its, when).global_step, values


@pytest.mark.parametrize("at_epoch_end", [False, True])
@pytest.mark.parametrize("patience", [1, 2])
def test_check_on_train_epoch_end(at_epoch_end: bool, patience: int) -> None:
    """Of several validations in an epoch, a look at its end sees the last; else each is looked at."""
    for values in scores(6):
        its = lightning.callbacks.EarlyStopping("val_score", patience=patience, check_on_train_epoch_end=at_epoch_end)
        trainer = in_lightning(Validated(values), its, {"val_check_interval": 0.5})
        every = "epoch" if at_epoch_end else "validation"
        callback = EarlyStopping(monitor="val_score", mode="min", patience=patience, every=every)

        assert validated(values, callback, range(2, 17, 2)).step == trainer.global_step, values


SAVES: list[tuple[dict[str, Any], str]] = [
    ({}, "validation"),
    ({"save_on_train_epoch_end": False}, "validation"),
    ({"save_on_train_epoch_end": True}, "epoch"),
    ({"every_n_train_steps": 4, "save_on_train_epoch_end": False}, "4 steps"),
    ({"every_n_train_steps": 8, "save_on_train_epoch_end": False}, "8 steps"),
]


@pytest.mark.parametrize(("when", "steps"), INTERVALS[:3])
@pytest.mark.parametrize(("its", "save_freq"), SAVES)
@pytest.mark.parametrize("top", [-1, 1, 2])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_saves_at_validations(
    when: dict[str, Any], steps: range, its: dict[str, Any], save_freq: str, top: int, mode: Mode, tmp_path: Path
) -> None:
    """The same models are kept, of values that are distinct."""
    for number, values in enumerate(scores(3, distinct=True)):
        folder = tmp_path / str(number)
        saver = lightning.callbacks.ModelCheckpoint(
            folder / "its",
            "{step}",
            monitor="val_score",
            mode=mode,
            save_top_k=top,
            auto_insert_metric_name=False,
            **its,
        )
        in_lightning(Validated(values), saver, when)
        keep = {} if top == -1 else {"keep": top}
        validated(
            values,
            ModelCheckpoint(folder / "own/{step}", monitor="val_score", mode=mode, save_freq=save_freq, **keep),
            steps,
        )

        assert saved(folder / "own") == saved(folder / "its", ".ckpt"), values


@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize(("when", "steps"), [INTERVALS[1], INTERVALS[2], INTERVALS[5]])
def test_the_best_at_steps_is_the_best_of_the_validations(
    every: int, when: dict[str, Any], steps: range, tmp_path: Path
) -> None:
    """Of those that a due save waits for; Lightning finds the same one where an epoch has one validation at its end."""
    for number, values in enumerate(scores(4, distinct=True)):
        saver = lightning.callbacks.ModelCheckpoint(
            tmp_path / f"its {number}",
            "{step}",
            monitor="val_score",
            every_n_train_steps=every,
            save_on_train_epoch_end=False,
        )
        in_lightning(Validated(values), saver, when)
        callback = ModelCheckpoint(
            tmp_path / f"own {number}/{{step}}-{{val_score:.6f}}",
            monitor="val_score",
            mode="min",
            save_freq=f"{every} steps",
            keep=1,
        )
        run = validated(values, callback, steps)

        waited = {min(step for step in steps if step >= due) for due in range(every, steps[-1] + 1, every)}
        best, step = min((values[steps.index(step)], step) for step in waited)
        assert [path.name for path in run.result.checkpoints] == [f"{step}-{best:.6f}.pt"]
        if steps.step >= BATCHES and steps.step % every == 0:
            assert float(saver.best_model_score) == best


def test_a_metric_of_training_steps_is_saved_at_the_step(tmp_path: Path) -> None:
    """Lightning's test of it: nothing waits for a validation; the last of four rising values is the best."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    callback = ModelCheckpoint(tmp_path / "{step}", monitor="train_score", mode="max", keep=1, save_freq="1 steps")
    with Run(TorchSubject(model, optimizer), callback) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(2)):
                optimizer.step()
                run.log(train_score=float(run.step + 1))

    assert saved(tmp_path) == ["4"]


@pytest.mark.parametrize("values", [[0.2, 0.6], [0.6, 0.2]])
def test_a_save_by_time_waits_for_the_first_validation(values: list[float], tmp_path: Path) -> None:
    """Lightning's test of it: due at each batch, with a validation only after the second epoch."""
    when, steps = INTERVALS[5]
    its = lightning.callbacks.ModelCheckpoint(
        tmp_path / "its",
        "{step}",
        monitor="val_score",
        mode="max",
        auto_insert_metric_name=False,
        train_time_interval=timedelta(0),
        save_on_train_epoch_end=False,
    )
    in_lightning(Validated(values), its, when)
    callback = ModelCheckpoint(
        tmp_path / "own/{step}", monitor="val_score", mode="max", keep=1, save_freq="0.000001 seconds"
    )
    validated(values, callback, steps)

    assert saved(tmp_path / "own") == [str(steps[values.index(max(values))])]
    assert float(its.best_model_score) == pytest.approx(max(values))


@pytest.mark.parametrize(
    ("interval", "frequency", "when", "steps", "every"),
    [
        ("epoch", 1, {}, range(4, 17, 4), "epoch"),
        ("epoch", 2, {}, range(4, 17, 4), "2 epochs"),
        ("step", 2, {"val_check_interval": 0.5}, range(2, 17, 2), "validation"),
    ],
)
@pytest.mark.parametrize("patience", [0, 1])
def test_its_configuration_of_a_plateau(
    interval: str, frequency: int, when: dict[str, Any], steps: range, every: str, patience: int
) -> None:
    """``interval`` and ``frequency`` of a scheduler are ``every``; the same number of cuts."""
    for values in scores(6):
        module = Validated(
            [abs(value) for value in values], factor=0.5, patience=patience, interval=interval, frequency=frequency
        )
        in_lightning(module, None, when)
        theirs = module.optimizers().param_groups[0]["lr"]
        callback = ReduceLROnPlateau(
            monitor="val_score", mode="min", rule="torch", factor=0.5, patience=patience, every=every, eps=1e-8
        )

        run = validated([abs(value) for value in values], callback, steps)
        assert run.subject.learning_rates() == {"learning_rate": theirs}, values


@pytest.mark.parametrize(
    ("values", "options", "its_reason", "words"),
    [
        ([10.0, 10.0, 10.0, 10.0], {"patience": 2}, "PATIENCE_EXHAUSTED", "did not improve on 10"),
        (
            [5.0, 3.0, 1.0, 0.5],
            {"stopping_threshold": 0.6},
            "STOPPING_THRESHOLD",
            "better than the stopping threshold 0.6",
        ),
        (
            [1.0, 2.0, 5.0, 10.0],
            {"divergence_threshold": 8.0, "patience": 9},
            "DIVERGENCE_THRESHOLD",
            "the divergence threshold 8",
        ),
        (
            [1.0, 0.5, math.nan, 0.1],
            {"check_finite": True},
            "NON_FINITE_METRIC",
            "val_score nan is not a finite number",
        ),
        ([5.0, 4.0, 3.0, 2.0], {"patience": 3}, "NOT_STOPPED", "all epochs done"),
    ],
)
def test_the_reason_of_a_stop(values: list[float], options: dict[str, Any], its_reason: str, words: str) -> None:
    """Its ``stopping_reason`` is ``run.result.reason``."""
    its = lightning.callbacks.EarlyStopping("val_score", **options)
    in_lightning(Validated(values), its, {})
    run = validated(values, EarlyStopping(monitor="val_score", mode="min", **options), range(4, 17, 4))

    assert its.stopping_reason.name == its_reason
    assert words in run.result.reason


def test_a_metric_with_extra_dimensions_is_one_number() -> None:
    """Its test of a monitored tensor of shape [1, 1, 1]."""
    values: Any = [torch.tensor([[[value]]]) for value in (2.0, 1.0, 1.0, 1.0)]
    run = validated(values, EarlyStopping(monitor="val_score", mode="min", patience=1), range(4, 17, 4))

    assert run.result.epochs == 3


class Stepped(Validated):
    """Logs the next of the values in each training step."""

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.log("val_score", torch.tensor(next(self.values)))
        return self.layer(batch).sum()

    def on_validation_epoch_end(self) -> None: ...


@pytest.mark.parametrize("frequency", [1, 2, 4])
@pytest.mark.parametrize("patience", [0, 1])
def test_a_plateau_of_training_steps(frequency: int, patience: int) -> None:
    """``"interval": "step"`` is ``every="... steps"``, ``value="last"``; Lightning counts anew in each epoch."""
    for values in scores(6):
        given = [abs(value) for value in values]
        module = Stepped(given, factor=0.5, patience=patience, interval="step", frequency=frequency)
        in_lightning(module, None, {})
        options: dict[str, Any] = {"factor": 0.5, "patience": patience, "eps": 1e-8, "every": f"{frequency} steps"}
        callback = ReduceLROnPlateau(monitor="score", mode="min", rule="torch", value="last", **options)
        logged, model = iter(given), torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        with Run(TorchSubject(model, optimizer), callback) as run:
            for _ in run.epochs(EPOCHS):
                for _ in run.batches(range(BATCHES)):
                    optimizer.step()
                    run.log(score=next(logged))

        assert optimizer.param_groups[0]["lr"] == module.optimizers().param_groups[0]["lr"] < 1.0, values
