"""A run in a ``train`` of the Trainer: what it decides, beside what the trainer does, and how it ends."""

from __future__ import annotations

import copy
import gc
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import transformers

from trainbus import LambdaCallback, LoopError, Run
from trainbus.adapters.transformers import TransformersCallback
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import LineSubject

from .trainers import ROWS, decided, deciding, end_of, first_of, trained, trainer


@pytest.mark.parametrize("eval_strategy", ["epoch", "steps"])
@pytest.mark.parametrize("monitor", first_of("eval_loss", "val_loss"))
def test_it_decides_as_a_plain_loop_over_the_same_metrics(eval_strategy: str, monitor: str) -> None:
    """With evaluations at the end of the epoch, or by steps where callbacks look at each."""
    every = {"every": "validation"} if eval_strategy == "steps" else {}
    callbacks = [
        EarlyStopping(monitor=monitor, patience=2, min_delta=0.2, **every),
        ReduceLROnPlateau(monitor=monitor, patience=1, factor=0.5, min_delta=0.2, **every),
    ]
    values: list[tuple[int, float]] = []
    noting = LambdaCallback(on_validation_end=lambda run, metrics: values.append((run.step, metrics["val_loss"])))
    run = trained([*callbacks, noting], eval_strategy=eval_strategy, eval_steps=3, num_train_epochs=8)

    measured = dict(values)
    with Run(LineSubject(0.3), callbacks, verbose=0) as plain:
        for _ in plain.epochs(8):
            for _ in plain.batches(range(4), accumulate=None):
                plain.step += 1
                if eval_strategy == "steps" and plain.step in measured:
                    with plain.validation():
                        plain.log(loss=measured[plain.step])
            if eval_strategy == "epoch":
                with plain.validation():
                    plain.log(loss=measured[plain.step])

    assert run.stopped
    assert (run.result.reason, decided(run)) == (plain.result.reason, decided(plain))
    assert run.history["val_loss"] == plain.history["val_loss"]


def test_the_four_behaviours_act() -> None:
    run = trained([*deciding(), ModelCheckpoint("best.pt", save_best_only=True), TensorBoard("logs")])

    assert run.result.reason
    assert Path("best.pt").is_file()
    assert list(Path("logs").rglob("events.out.*"))
    assert set(run.history) >= {"loss", "grad_norm", "val_loss"}
    assert not any("runtime" in name or "per_second" in name or name == "epoch" for name in run.history)


@pytest.mark.parametrize("kind", first_of("linear", "cosine", "constant", "polynomial", "cosine_with_restarts"))
def test_a_cut_is_not_undone_by_the_schedule_of_the_trainer(kind: str) -> None:
    """The trainer passes its optimizer wrapped by Accelerate."""
    cut = ReduceLROnPlateau(patience=1, factor=0.5, min_delta=10.0)
    runs = [trained(each, lr_scheduler_type=kind, num_train_epochs=4) for each in ([], [cut])]
    plain, with_cuts = (run.history["learning_rate/0"] for run in runs)

    assert not runs[1].failures
    factors = [one / other for one, other in zip(with_cuts, plain, strict=True)]
    assert factors == pytest.approx([1.0, 1.0, 0.5, 0.25])


@pytest.mark.parametrize("accumulation", first_of(3, 1, 2, 4, 7))
def test_a_batch_of_the_run_is_a_weight_update(accumulation: int) -> None:
    batches: list[int] = []
    noting = LambdaCallback(on_batch_end=lambda run, batch: batches.append(batch))
    run = trained([noting], gradient_accumulation_steps=accumulation, num_train_epochs=2)

    updates = -(-4 // accumulation)
    assert batches == [*range(updates), *range(updates)]
    assert run.step == 2 * updates


def test_losses_are_known_at_the_batch_after_which_the_trainer_logs_them() -> None:
    known: list[bool] = []
    noting = LambdaCallback(on_batch_end=lambda metrics: known.append("loss" in metrics))
    trained([noting], logging_strategy="steps", logging_steps=2, num_train_epochs=1)

    assert known == [False, True, True, True]


@pytest.mark.parametrize("names", first_of(["b", "a", "long_name"], ["a"], ["a", "b"]))
@pytest.mark.parametrize("at", first_of("first", "last"))
def test_several_data_sets_are_one_validation(names: list[str], at: str) -> None:
    """Whichever of them is monitored, the epoch ends after the last of them."""
    validations: list[Mapping[str, Any]] = []
    monitor = f"val_{names[0 if at == 'first' else -1]}_loss"
    callbacks = [
        EarlyStopping(monitor=monitor, patience=1, min_delta=10.0),
        LambdaCallback(on_validation_end=lambda metrics: validations.append(dict(metrics))),
    ]
    run = trained(callbacks, eval_dataset={name: ROWS[16 + 2 * n :] for n, name in enumerate(names)})

    assert len(validations) == 2
    assert run.result.reason.startswith(f"{monitor} ")
    assert all(set(each) == {f"val_{name}_loss" for name in names} for each in validations)
    assert len(run.history[monitor]) == 2


class Asks(transformers.TrainerCallback):
    """Asks for an evaluation and a log at the end of each epoch."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        control.should_evaluate = control.should_log = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **parts: Any) -> None:
        metrics["eval_twice"] = 2 * metrics["eval_loss"]


class Adds(transformers.TrainerCallback):
    """Adds another callback when the training has begun."""

    added = False
    trainer: Any

    def on_step_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if not self.added:
            self.trainer.add_callback(Asks())
        self.added = True


@pytest.mark.parametrize("eval_strategy", ["no", "steps"])
@pytest.mark.parametrize("others", ["before", "after", "added"])
def test_an_evaluation_that_another_callback_asks_for_is_of_the_epoch_that_ends(
    others: str, eval_strategy: str
) -> None:
    """In whatever order they are listed; with the metrics that the other callback adds."""
    bus = TransformersCallback(EarlyStopping(monitor="eval_twice", mode="max", patience=1), verbose=0)
    own: list[Any] = [Asks()] if others != "added" else [Adds()]
    fit = trainer([*own, bus] if others == "before" else [bus, *own], eval_strategy=eval_strategy, eval_steps=500)
    if others == "added":
        own[0].trainer = fit
    fit.train()

    evaluated = [each["eval_loss"] for each in fit.state.log_history if "eval_loss" in each]
    assert bus.run.history["val_loss"][-len(evaluated) :] == evaluated
    assert bus.run.stopped


def test_an_evaluation_between_two_epochs_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Evaluates(transformers.TrainerCallback):
        trainer: Any

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            if state.epoch:
                self.trainer.evaluate()

    own, bus = Evaluates(), TransformersCallback(verbose=0)
    own.trainer = fit = trainer([own, bus], eval_strategy="no", num_train_epochs=2)
    fit.train()

    assert "val_loss" not in bus.run.history
    assert "an evaluation between two epochs is a validation of neither" in caplog.text


def test_an_evaluation_before_the_training_counts() -> None:
    stop = EarlyStopping(patience=1, min_delta=10.0, every="validation")
    run = trained([stop], eval_on_start=True, eval_strategy="steps", eval_steps=1)

    assert run.step == 1


@pytest.mark.exhaustive
def test_the_model_is_the_best_one_at_the_end() -> None:
    """Whether the trainer loads it, the run restores it, or both."""
    best = []
    for own in (False, True):
        for its in (False, True):
            stop = EarlyStopping(patience=9, restore_best_weights=own)
            options = {"save_strategy": "epoch", "load_best_model_at_end": its}
            best.append(end_of(trained([stop], folder=f"{own}{its}", num_train_epochs=6, **options))["weights"])

    assert best[1] == best[2] == best[3] != best[0]


def test_it_works_beside_callbacks_of_the_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    """Its early stopping, its progress bar, and one that evaluates other data at the end of each epoch."""

    class EvaluatesTraining(transformers.TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **parts: Any) -> Any:
            kept = copy.deepcopy(control)
            training.evaluate(ROWS[:8], metric_key_prefix="train")
            return kept

    bus = TransformersCallback([EarlyStopping(patience=3, min_delta=10.0)])
    training = trainer(
        [EvaluatesTraining(), bus, EvaluatesTraining(), transformers.EarlyStoppingCallback(9)],
        save_strategy="epoch",
        metric_for_best_model="eval_loss",
        disable_tqdm=False,
    )
    training.train()

    assert bus.run.result.reason == "val_loss 0.66478 did not improve by more than 10" or bus.run.stopped
    assert training.state.global_step == 16
    assert len(bus.run.history["train_loss"]) == len(bus.run.history["val_loss"]) == 4


class Fails(transformers.Trainer):
    """Its training step raises an error."""

    at = 6

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step + 1 == self.at:
            raise RuntimeError("no memory left")
        return super().training_step(*args, **kwargs)


def test_an_error_that_no_callback_is_told_of_ends_the_run_when_it_is_released() -> None:
    """And the next ``train`` is a run of its own, or with "auto" continues."""
    bus = TransformersCallback([ModelCheckpoint("own/{epoch}")], resume="auto")
    training: Any = trainer([bus], kind=Fails, num_train_epochs=3)
    with pytest.raises(RuntimeError, match="no memory"):
        training.train()
    gc.collect()
    first = bus.run

    assert first.state.phase == "ended"
    assert isinstance(first.error, LoopError)
    training.at = 0
    training.train()
    assert bus.run is not first
    assert (bus.run.step, len(bus.run.history["val_loss"])) == (12, 3)
    assert bus.run.result.reason == "all epochs done"


def test_a_train_that_begins_leaves_earlier_checkpoints_as_they_are() -> None:
    """The trainer asks for the state then, too; the run of the ``train`` before may be open."""
    bus = TransformersCallback(deciding())
    training: Any = trainer([bus], kind=Fails, num_train_epochs=2, save_strategy="epoch")
    training.at = 5
    with pytest.raises(RuntimeError, match="no memory") as error:
        training.train()
    files = {path: path.read_bytes() for path in Path("trainer").rglob("*") if path.is_file()}
    training.at = 1
    with pytest.raises(RuntimeError, match="no memory"):
        training.train()

    assert error
    assert any(path.name == "trainbus_snapshots.pt" for path in files)
    assert all(path.read_bytes() == content for path, content in files.items())


@pytest.mark.exhaustive
def test_a_second_train_is_a_run_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    trained([ModelCheckpoint("own.pt")], num_train_epochs=1)
    bus = TransformersCallback([], resume="own.pt")
    training = trainer([bus], num_train_epochs=2)
    steps = []
    for _ in range(2):
        training.train()
        steps.append((bus.run.step, len(bus.run.history["val_loss"])))

    assert steps == [(8, 2), (8, 2)]
    assert caplog.text.count("was used in the first train()") == 1


def test_an_error_in_a_callback_ends_the_run_at_once() -> None:
    def fail() -> None:
        raise ValueError("wrong")

    bus = TransformersCallback([LambdaCallback(on_epoch_end=fail)])
    with pytest.raises(ValueError, match="wrong"):
        trainer([bus]).train()

    assert isinstance(bus.run.error, ValueError)


class Interrupts(transformers.TrainerCallback):
    """Sends a signal to its own process."""

    def __init__(self, number: int, at: int = 6) -> None:
        self.number, self.at = number, at

    def on_substep_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if state.global_step + 1 == self.at:
            os.kill(os.getpid(), self.number)


def test_ctrl_c_ends_the_run_in_order_and_auto_continues() -> None:
    """After the weight update, not in the middle of its batches."""
    save = ModelCheckpoint("own/{step}", save_on="signal", save_freq="1000 epochs")
    options = {"gradient_accumulation_steps": 2, "logging_strategy": "no", "num_train_epochs": 4}
    whole = trained([], **options)
    bus = TransformersCallback([save])
    with pytest.raises(KeyboardInterrupt):
        trainer([bus, Interrupts(signal.SIGINT)], **options).train()

    assert bus.run.result.reason == "SIGINT asked for it"
    assert [each.name for each in Path("own").glob("*.pt")] == ["signal.pt"]
    assert end_of(trained([save], options={"resume": "auto"}, **options)) == end_of(whole)


def test_a_signal_that_the_program_handles_ends_the_training_in_order() -> None:
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        bus = TransformersCallback([])
        trainer([bus, Interrupts(signal.SIGINT)], gradient_accumulation_steps=2).train()
    finally:
        signal.signal(signal.SIGINT, previous)

    assert bus.run.state.interrupted
    assert bus.run.step == 6
