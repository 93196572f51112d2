"""The binding for the Trainer of Transformers: a run in every ``train``, continued from any checkpoint."""

from __future__ import annotations

import copy
import gc
import json

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus import LambdaCallback, LoopError, MissingMetric, Run, SettingsError
from trainbus.decision import Forget, Save
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import LineSubject, check_binding

transformers = pytest.importorskip("transformers", reason="needs trainbus[transformers]")
pytest.importorskip("accelerate", reason="needs accelerate")

from trainbus.adapters.transformers import TransformersCallback

from .trainers import ROWS, trained, trainer


def first_of(*cases: Any, default: int = 1) -> list[Any]:
    """Return cases of which only the first ones run by default."""
    return [pytest.param(each, marks=() if n < default else pytest.mark.exhaustive) for n, each in enumerate(cases)]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def deciding(**options: Any) -> list[Any]:
    return [
        EarlyStopping(patience=2, restore_best_weights=True, **options),
        ReduceLROnPlateau(patience=1, factor=0.5, **options),
    ]


def decided(run: Run) -> list[tuple[int, list[str]]]:
    """Return what a run has decided, without the files that it has saved or removed."""
    log = ((epoch, sorted(each.reason for each in one if not isinstance(each, (Save, Forget)))) for epoch, one in log_of(run))
    return [each for each in log if each[1]]


def log_of(run: Run) -> list[tuple[int, Any]]:
    return [(epoch, list(decision)) for epoch, decision in run.state.decision_log]


def end_of(run: Run) -> dict[str, Any]:
    subject: Any = run.subject
    return {
        "history": dict(run.history),
        "reason": run.result.reason,
        "step": run.step,
        "decided": decided(run),
        "rates": subject.learning_rates(),
        "weights": [each.tolist() for each in subject.model.parameters()],
    }


# --- what a run does


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


# --- what is refused and reported


@pytest.mark.parametrize(
    ("monitor", "arguments", "message"),
    [
        ("val_lss", {}, "did you mean 'val_loss'"),
        ("val_loss", {"eval_strategy": "no"}, "eval_strategy='epoch'"),
        ("eval_loss", {"eval_strategy": "no"}, "eval_strategy='epoch'"),
        ("loss", {"logging_strategy": "no", "eval_strategy": "no"}, "logging_strategy='epoch'"),
        ("eval_score", {}, "compute_metrics"),
        ("val_runtime", {}, "not logged"),
    ],
)
def test_a_metric_that_is_not_logged_is_an_error(monitor: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MissingMetric, match=message):
        trained([EarlyStopping(monitor=monitor, mode="min")], num_train_epochs=2, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resum": "auto"}, "did you mean 'resume'"),
        ({"resume_from_checkpoint": "auto"}, "did you mean 'resume'"),
        ({"epochs": 3}, "unknown argument 'epochs'"),
        ({"Probe": None}, "did you mean 'probe'"),
        ({"callback": []}, "did you mean 'callbacks'"),
    ],
)
def test_an_unknown_argument_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TransformersCallback([], **options)


def test_what_cannot_work_is_refused_before_the_training() -> None:
    stop = EarlyStopping(patience=1)
    for callbacks, message in (
        ([TransformersCallback(stop), TransformersCallback(stop)], "give all callbacks to one"),
        ([TransformersCallback(transformers.EarlyStoppingCallback(1))], "transformers"),
        ([TransformersCallback(ModelCheckpoint("a.keras"))], "keras"),
        ([TransformersCallback(stop, resume="absent.pt")], "absent.pt"),
    ):
        training = trainer(callbacks)
        before = copy.deepcopy(training.model.state_dict())
        with pytest.raises(Exception, match=message):
            training.train()
        assert all(torch.equal(value, training.model.state_dict()[name]) for name, value in before.items())


def test_without_a_train_there_is_no_run() -> None:
    bus = TransformersCallback([])
    with pytest.raises(LoopError, match="no run yet"):
        _ = bus.run
    with pytest.raises(LoopError, match="trainer.train"):
        bus.on_train_begin(*[None] * 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", first_of(lambda each: pickle.loads(pickle.dumps(each)), copy.copy, copy.deepcopy))
def test_copies_keep_the_settings_and_the_last_run(make: Any) -> None:
    bus = TransformersCallback([EarlyStopping(patience=1, min_delta=10.0)], hparams={"width": 3})
    trainer([bus]).train()
    again = make(bus)
    reason = again.run.result.reason
    trainer([again]).train()

    assert reason == bus.run.result.reason == again.run.result.reason
    assert again.run is not bus.run
    assert again.run.hparams == {"width": 3}


def test_its_state_is_restored_by_itself_only() -> None:
    """The trainer would replace it by one without callbacks."""
    trained([EarlyStopping()], save_strategy="epoch", num_train_epochs=1)
    with pytest.raises(SettingsError, match="leave it out"):
        trained(
            [EarlyStopping()], resume_from="trainer/checkpoint-4", restore_callback_states_from_checkpoint=True
        )


def test_two_checkpoints_to_continue_from_are_refused() -> None:
    """But with "auto", that of the trainer counts."""
    trained([ModelCheckpoint("own.pt")], save_strategy="epoch", num_train_epochs=2)
    with pytest.raises(SettingsError, match="give one of them"):
        trained([], options={"resume": "own.pt"}, resume_from="trainer/checkpoint-4")
    run = trained(
        [ModelCheckpoint("own.pt")], options={"resume": "auto"}, resume_from="trainer/checkpoint-4", num_train_epochs=3
    )
    assert len(run.history["val_loss"]) == 3


def test_a_checkpoint_of_a_trainer_without_the_callback(caplog: pytest.LogCaptureFixture) -> None:
    """Its epochs are counted, and its history is unknown: one line says so."""
    trainer([], save_strategy="epoch", num_train_epochs=2).train()
    run = trained([EarlyStopping(patience=9)], resume_from="trainer/checkpoint-8", num_train_epochs=4)

    assert "without a TransformersCallback" in caplog.text
    assert (run.epoch, run.step, len(run.history["val_loss"])) == (3, 16, 2)


@pytest.mark.parametrize("damage", first_of("missing", "other"))
def test_best_weights_that_are_missing_at_a_resume_are_reported(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """The decisions are the same nevertheless."""
    whole = trained(deciding(), save_strategy="epoch")
    file = Path("trainer/checkpoint-8/trainbus_snapshots.pt")
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(Path("trainer/checkpoint-4/trainbus_snapshots.pt").read_bytes())
    caplog.clear()
    resumed = trained(deciding(), resume_from="trainer/checkpoint-8")

    assert caplog.text.count("without its snapshots") == 1
    assert (resumed.history, resumed.result.reason) == (whole.history, whole.result.reason)


def test_the_state_is_plain_data_of_the_checkpoint() -> None:
    trained(deciding(), save_strategy="epoch", num_train_epochs=1)
    state = json.loads(Path("trainer/checkpoint-4/trainer_state.json").read_text())

    assert "entry" in json.loads(state["stateful_callbacks"]["TransformersCallback"]["attributes"]["restored_state"])


# --- resumes

STEPS = {"logging_strategy": "steps", "logging_steps": 1}
OWN: dict[str, dict[str, Any]] = {
    "updates": {"logging_strategy": "no"},
    "schedule": {**STEPS, "lr_scheduler_type": "cosine", "optim": "adamw_torch"},
    "accumulation": {**STEPS, "gradient_accumulation_steps": 2},
    "evaluations by steps": {**STEPS, "eval_strategy": "steps", "eval_steps": 3},
    "a last part of an epoch": {"logging_strategy": "no", "max_steps": 14},
    "a delay": {"logging_strategy": "no", "eval_delay": 2},
}
ITS: dict[str, dict[str, Any]] = {
    "epochs": {"save_strategy": "epoch"},
    "schedule": {"save_strategy": "epoch", "lr_scheduler_type": "cosine", "optim": "adamw_torch"},
    "updates": {**STEPS, "save_strategy": "steps", "save_steps": 1},
    "evaluations by steps": {
        **STEPS,
        "save_strategy": "steps",
        "save_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 3,
    },
    "accumulation": {**STEPS, "save_strategy": "steps", "save_steps": 1, "gradient_accumulation_steps": 3},
    "the best": {"save_strategy": "best", "load_best_model_at_end": True, "metric_for_best_model": "eval_loss"},
    "a last part of an epoch": {
        "logging_strategy": "no",
        "save_strategy": "steps",
        "save_steps": 1,
        "max_steps": 14,
    },
}


def looks(way: Mapping[str, Any]) -> list[Any]:
    return deciding(**({"every": "validation"} if way.get("eval_strategy") == "steps" else {}))


@pytest.mark.parametrize(
    "name",
    first_of("accumulation", *(each for each in OWN if each != "accumulation")),
)
def test_it_continues_from_each_of_its_checkpoints(name: str) -> None:
    """What the trainer trained before is left out; dropout is as if it had not been interrupted."""
    way, quiet = OWN[name], {"verbose": 0}
    whole = trained([*looks(way), ModelCheckpoint("own/{step}", save_freq="1 steps")], options=quiet, **way)
    for step in range(1, whole.step + 1, 3 if name == "accumulation" else 1):
        again = [*looks(way), ModelCheckpoint("again/{step}", save_freq="1 steps")]
        resumed = trained(again, options={"resume": f"own/{step}.pt", **quiet}, **way)

        assert end_of(resumed) == end_of(whole), step


@pytest.mark.parametrize(
    "name", first_of("epochs", *(each for each in ITS if each != "epochs"))
)
def test_it_continues_from_each_checkpoint_of_the_trainer(name: str) -> None:
    """Also after the last update of an epoch, whose evaluation the trainer alone would leave out."""
    way = ITS[name]
    whole = trained(looks(way), options={"verbose": 0}, **way)
    found = sorted(Path("trainer").glob("checkpoint-*"))
    assert found
    for path in found:
        resumed = trained(looks(way), folder="again", options={"verbose": 0}, resume_from=str(path), **way)
        expected = end_of(whole)

        assert end_of(resumed) == expected, path


def in_a_process(plugin: object, resume: bool, *, own: bool, **arguments: Any) -> Run:
    """A training for ``check_binding``, resumed by its own checkpoints or those of the trainer."""
    callbacks = [*looks(arguments), ModelCheckpoint("own-{epoch}", keep_last=2), plugin]
    complete = {int(each.parent.name[11:]): each.parent for each in Path().glob("trainer/*/trainer_state.json")}
    source = str(complete[max(complete)]) if resume and complete and not own else None
    start = "auto" if resume and own else None
    return trained(callbacks, options={"resume": start, "verbose": 0}, resume_from=source, **arguments)


@pytest.mark.parametrize("own", first_of(False, True))
def test_a_training_that_is_killed_and_resumed_decides_the_same(own: bool) -> None:
    """Killed by SIGKILL at the end of each epoch."""
    save = "no" if own else "epoch"
    train = partial(in_a_process, own=own, save_strategy=save, num_train_epochs=3)
    check_binding(train, at=["on_epoch_end"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["epochs", "updates", "evaluations by steps"])
def test_a_training_that_is_killed_at_any_event_and_resumed_decides_the_same(way: str) -> None:
    """Killed by SIGKILL at every event."""
    check_binding(partial(in_a_process, own=False, num_train_epochs=3, **ITS[way]))


@pytest.mark.exhaustive
def test_a_training_that_is_killed_at_any_event_and_resumes_itself_decides_the_same() -> None:
    check_binding(partial(in_a_process, own=True, num_train_epochs=4))


def test_epochs_that_are_left_out_load_no_data_and_warn_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loaded: list[int] = []

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> Any:
            loaded.append(index)
            return ROWS[index]

    transformers.logging.enable_propagation()
    trained([ModelCheckpoint("own/{step}", save_freq="1 steps")], num_train_epochs=3, logging_strategy="no")
    run = trained(
        [], options={"resume": "own/10.pt"}, num_train_epochs=3, logging_strategy="no", train_dataset=Rows()
    )

    assert run.step == 12
    assert len(loaded) == 8
    assert "single sample" not in caplog.text


def test_what_cannot_be_left_out_is_refused_before_the_training() -> None:
    """A part of an epoch whose last weight update is shorter, and a loader that no Accelerate has prepared."""
    options = {"gradient_accumulation_steps": 3, "logging_strategy": "no", "num_train_epochs": 2}
    trained([ModelCheckpoint("own/{step}", save_freq="1 steps")], **options)
    with pytest.raises(SettingsError, match="resume_from_checkpoint=True"):
        trained([], options={"resume": "own/3.pt"}, **options)
    assert trained([], options={"resume": "own/2.pt"}, **options).step == 4

    class Plain(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(ROWS[:16], batch_size=4)

    with pytest.raises(SettingsError, match="has not prepared their loader"):
        trained([], options={"resume": "own/2.pt"}, kind=Plain, **options)


@pytest.mark.exhaustive
def test_a_run_that_had_stopped_stays_stopped() -> None:
    stop = EarlyStopping(patience=1, min_delta=10.0)
    for resume in ("auto", None):
        whole = trained([stop, ModelCheckpoint("own/{epoch}")], save_strategy="epoch", folder=f"{resume}")
        again = trained(
            [stop, ModelCheckpoint("own/{epoch}")],
            options={"resume": resume},
            resume_from=None if resume else "None/checkpoint-8",
        )

        assert end_of(again) == end_of(whole)


@pytest.mark.exhaustive
def test_what_the_trainer_cannot_know_after_a_resume_is_said(caplog: pytest.LogCaptureFixture) -> None:
    trained([ModelCheckpoint("own.pt")], num_train_epochs=1)
    trained(
        [], options={"resume": "own.pt"}, num_train_epochs=2, save_strategy="epoch", load_best_model_at_end=True
    )
    assert caplog.text.count("load_best_model_at_end") == 1

    trained([], save_strategy="steps", save_steps=1, num_train_epochs=1)
    trained([], resume_from="trainer/checkpoint-2", num_train_epochs=1, ignore_data_skip=True)
    assert caplog.text.count("ignore_data_skip") == 1


# --- the end of a training


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
    options = {"gradient_accumulation_steps": 2, "logging_strategy": "no", "num_train_epochs": 5}
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


@pytest.mark.exhaustive
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_from_outside_ends_the_process_in_order(number: signal.Signals, status: int) -> None:
    """With its files closed."""
    script = (
        "from tests.adapters.trainers import *\n"
        "from trainbus.plugins import *\n"
        "from trainbus import LambdaCallback\n"
        "told = LambdaCallback(on_epoch_end=lambda: print('epoch', flush=True))\n"
        "trained([ModelCheckpoint('own/{step}', save_on='signal'), TensorBoard('logs'), told], num_train_epochs=10**6)"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    while process.stdout.readline() != "epoch\n":
        pass
    process.send_signal(number)
    process.stdout.read()

    assert process.wait() in (status, -number)
    assert list(Path("own").glob("*.pt"))
