"""The callbacks act as the real ``Trainer`` of Transformers does: evaluations by steps, what is kept, and a resume.

By design they differ: a file that is one of the best or one of the last stays, so the best model beyond the last
``save_total_limit`` is one file more; a save in percents comes at each share of the planned epochs, not at multiples
of a number of steps that is rounded up; a resumed run never forgets what it has waited; an evaluation before the
training counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, nan
from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .trainings import BATCHES, EPOCHS, histories, saved, validated

transformers = pytest.importorskip("transformers", reason="needs trainbus[bench]")
pytest.importorskip("accelerate", reason="needs accelerate")
pytestmark = pytest.mark.exhaustive
STEPS = EPOCHS * BATCHES


class Falling(torch.nn.Module):
    """Its only weight falls by the learning rate in each update."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.weight.sum(), "logits": self.weight * x}


def in_trainer(
    values: Sequence[float], folder: Path, callbacks: Sequence[Any] = (), source: Path | None = None, **options: Any
) -> Any:
    """Return Transformers' trainer after its training, whose evaluations give the values one after the other."""
    transformers.logging.set_verbosity_error()
    given, rows = iter(values), [{"x": 1.0, "labels": 1.0}] * BATCHES
    best = {"metric_for_best_model": "score"} if "greater_is_better" in options else {}
    shared: dict[str, Any] = {
        "per_device_train_batch_size": 1,
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
    }
    arguments = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=EPOCHS,
        max_grad_norm=0.0,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        **best,
        **{**shared, **options},
    )
    trainer = transformers.Trainer(
        Falling(),
        arguments,
        train_dataset=rows,
        eval_dataset=rows[:1],
        compute_metrics=lambda _: {"score": next(given)},
        callbacks=list(callbacks),
    )
    trainer.train(resume_from_checkpoint=None if source is None else str(source))
    return trainer


def kept(folder: Path) -> set[str]:
    """Return the steps of the checkpoints that Transformers has kept."""
    return {path.name.removeprefix("checkpoint-") for path in folder.glob("checkpoint-*")}


def by_steps(every: int) -> tuple[dict[str, Any], list[int]]:
    """Return the options for an evaluation every so many steps, and their steps: Trainer adds one at the end."""
    return {"eval_strategy": "steps", "eval_steps": every}, sorted({*range(every, STEPS + 1, every), STEPS})


def lengthened(values: Sequence[float]) -> list[float]:
    """Return the values, and distinct worse and better ones behind them, enough for an evaluation at each step."""
    return [*values, *(1.0 + (-1) ** number * 2**-8 * (2 * number + 1) for number in range(STEPS))][:STEPS]


EVERY = [by_steps(1), by_steps(2), by_steps(3), by_steps(5), ({"eval_strategy": "epoch"}, [*range(4, STEPS + 1, 4)])]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("when", "steps"), EVERY)
def test_patience_counts_evaluations(mode: Any, when: dict[str, Any], steps: list[int], tmp_path: Path) -> None:
    """The same weight update is the last; with NaN, also as the first value, and with a threshold."""
    for number, history in enumerate(histories(4)):
        values = lengthened(history)
        values[number // 2] = nan if number % 2 else values[number // 2]
        patience, threshold = number % 3 + 1, (0.0, 0.5)[number // 2]
        stopper = transformers.EarlyStoppingCallback(patience, threshold)
        trainer = in_trainer(values, tmp_path, [stopper], greater_is_better=mode == "max", save_strategy="no", **when)
        callback = EarlyStopping(
            monitor="val_score",
            mode=mode,
            patience=patience,
            min_delta=threshold,
            cumulative_delta=False,
            every="validation",
        )

        assert validated(values, callback, steps).step == trainer.state.global_step, values


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("patience", [1, 3, 99])
def test_the_best_model_is_loaded_at_the_end(every: int, patience: int, tmp_path: Path) -> None:
    """After a stop, and after the last epoch."""
    when, steps = by_steps(every)
    for number, history in enumerate(histories(2, distinct=True)):
        values = lengthened(history)
        trainer = in_trainer(
            values,
            tmp_path / str(number),
            [transformers.EarlyStoppingCallback(patience)],
            greater_is_better=False,
            load_best_model_at_end=True,
            save_strategy="steps",
            save_steps=every,
            **when,
        )
        callback = EarlyStopping(
            monitor="val_score", mode="min", patience=patience, every="validation", restore_best_weights=True
        )
        run = validated(values, callback, steps)

        assert run.step == trainer.state.global_step
        assert run.subject.model.weight.item() == trainer.model.weight.item() == -trainer.state.best_global_step


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize("best", [False, True], ids=["the last", "the best and the last"])
def test_save_total_limit(limit: int, best: bool, tmp_path: Path) -> None:
    """Without ``load_best_model_at_end`` the same; with it, the best beyond the last ones is one file more."""
    when, steps = by_steps(2)
    for number, history in enumerate(histories(4, distinct=True)):
        values, folder = lengthened(history), tmp_path / str(number)
        in_trainer(
            values,
            folder / "its",
            save_strategy="steps",
            save_steps=2,
            save_total_limit=limit,
            **({"greater_is_better": False, "load_best_model_at_end": True} if best else {}),
            **when,
        )
        callback = ModelCheckpoint(
            folder / "own/{step}",
            monitor="val_score",
            mode="min",
            save_freq="validation",
            keep_last=limit,
            keep=1 if best else None,
        )
        validated(values, callback, steps)
        ours, theirs = set(saved(folder / "own")), kept(folder / "its")

        assert ours >= theirs
        step = str(steps[values.index(min(values[: len(steps)]))])
        beyond = best and int(step) not in steps[-limit:]
        assert len(ours - theirs) == beyond


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_save_strategy_best(limit: int | None, mode: Any, tmp_path: Path) -> None:
    """Each new best of the evaluations, or the last of them."""
    when, steps = by_steps(2)
    for number, history in enumerate(histories(3)):
        values, folder = lengthened(history), tmp_path / str(number)
        in_trainer(
            values,
            folder / "its",
            greater_is_better=mode == "max",
            save_strategy="best",
            save_total_limit=limit,
            **when,
        )
        callback = ModelCheckpoint(
            folder / "own/{step}",
            monitor="val_score",
            mode=mode,
            save_freq="validation",
            save_best_only=True,
            keep_last=limit,
        )
        validated(values, callback, steps)

        assert set(saved(folder / "own")) == kept(folder / "its"), values


@pytest.mark.parametrize(
    ("save_steps", "save_freq"),
    [(1, "1 steps"), (5, "5 steps"), (16, "16 steps"), (0.25, "25%"), (0.5, "50%"), (0.3, "30%"), (0.1, "10%")],
)
def test_save_steps(save_steps: float, save_freq: str, tmp_path: Path) -> None:
    """The same steps, if a share is rounded up to the same; Trainer also saves the end, which is ``save_on``."""
    in_trainer([], tmp_path / "its", save_strategy="steps", save_steps=save_steps)
    validated([], ModelCheckpoint(tmp_path / "own/{step}", save_freq=save_freq, save_on={"end": "end-{step}"}), [])
    ours = {name.removeprefix("end-") for name in saved(tmp_path / "own")}

    share = save_steps * STEPS if save_steps < 1 else save_steps
    expected = {ceil(number * share - 1e-9) for number in range(1, int(STEPS / share + 1e-9) + 1)} | {STEPS}
    assert ours == {str(step) for step in expected}
    if save_steps != 0.1:  # of 1.6 steps; Trainer saves every second
        assert ours == kept(tmp_path / "its")


@pytest.mark.parametrize("at", [4, 6, 8, 10])
@pytest.mark.parametrize("restored", [True, False])
def test_a_resumed_patience(at: int, restored: bool, tmp_path: Path) -> None:
    """As with ``restore_callback_states_from_checkpoint=True``; by default Trainer forgets what it has waited."""
    values, (when, steps) = [1.0, 2.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], by_steps(2)
    options: dict[str, Any] = {"greater_is_better": False, "save_strategy": "steps", "save_steps": 2, **when}
    in_trainer(values, tmp_path / "its", [transformers.EarlyStoppingCallback(3)], **options)
    trainer = in_trainer(
        values[at // 2 :],
        tmp_path / "its",
        [transformers.EarlyStoppingCallback(3)],
        tmp_path / f"its/checkpoint-{at}",
        restore_callback_states_from_checkpoint=restored,
        **options,
    )
    callbacks = [
        EarlyStopping(monitor="val_score", mode="min", patience=3, every="validation"),
        ModelCheckpoint(tmp_path / "own/{step}", save_freq="validation"),
    ]
    whole = validated(values, callbacks, steps)
    resumed = validated(values, callbacks, steps, resume=tmp_path / f"own/{at}.pt")

    assert resumed.step == whole.step == 12
    assert trainer.state.global_step == (12 if restored or at <= 6 else at + 6)


@pytest.mark.parametrize("patience", [0, 1, 2])
@pytest.mark.parametrize("every", [1, 2])
def test_its_plateau_at_evaluations(patience: int, every: int, tmp_path: Path) -> None:
    """``lr_scheduler_type="reduce_lr_on_plateau"`` steps at each evaluation."""
    when, steps = by_steps(every)
    for history in histories(3):
        values = [abs(value) for value in lengthened(history)]
        trainer = in_trainer(
            values,
            tmp_path,
            greater_is_better=False,
            save_strategy="no",
            lr_scheduler_type="reduce_lr_on_plateau",
            lr_scheduler_kwargs={"factor": 0.5, "patience": patience},
            **when,
        )
        callback = ReduceLROnPlateau(
            monitor="val_score",
            mode="min",
            rule="torch",
            factor=0.5,
            patience=patience,
            every="validation",
            eps=1e-8,
        )
        run = validated(values, callback, steps)

        assert run.subject.learning_rates() == {"learning_rate": trainer.optimizer.param_groups[0]["lr"]}, values


def test_an_evaluation_before_the_training(tmp_path: Path) -> None:
    """``eval_on_start``: here the untrained model is the first to beat; Trainer forgets its value."""
    values = [0.5, *[1.0] * STEPS]
    trainer = in_trainer(
        values,
        tmp_path,
        [transformers.EarlyStoppingCallback(3)],
        greater_is_better=False,
        save_strategy="no",
        eval_on_start=True,
        **by_steps(1)[0],
    )
    given = iter(values)
    with Run(callbacks=EarlyStopping(monitor="val_score", mode="min", patience=3, every="validation")) as run:
        for epoch in run.epochs(EPOCHS):
            if epoch == 0:
                with run.validation():
                    run.log(val_score=next(given))
            for _ in run.batches(range(BATCHES)):
                with run.validation():
                    run.log(val_score=next(given))

    assert (run.step, trainer.state.global_step) == (3, 4)
