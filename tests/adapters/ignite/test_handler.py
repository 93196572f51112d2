"""Ignite trains, trainbus decides: a run in each ``trainer.run``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ignite")

import torch
from ignite.engine import DeterministicEngine, Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, FastaiLRFinder, ProgressBar
from ignite.handlers import EarlyStopping as IgniteEarlyStopping
from ignite.metrics import Average, Loss
from torch.utils.data import DataLoader, TensorDataset

from trainbus import LoopError, MissingCapability, MissingMetric, Run, SettingsError, hookimpl
from trainbus.adapters.ignite import IgniteHandler, attach
from trainbus.adapters.torch import TorchSubject
from trainbus.decision import stop
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import EventRecorder, check_binding

EPOCHS, BATCHES = 5, 3
mse = torch.nn.functional.mse_loss


def rules(*more: object, save_freq: Any = "epoch", **stopping: Any) -> list[Any]:
    return [
        EarlyStopping(**{"patience": 1, "min_delta": 0.1, "restore_best_weights": True, **stopping}),
        ReduceLROnPlateau(monitor="loss", mode="min", patience=0, min_delta=0.3, factor=0.5),
        ModelCheckpoint("best.pt", save_best_only=True),
        ModelCheckpoint("last-{step}.pt", save_freq=save_freq, keep_last=2),
        *more,
    ]


class Training:
    """A small model with dropout, which a trainer trains on shuffled data and an evaluator validates.

    Args:
        callbacks: The callbacks of trainbus.
        kind: The class of the trainer.
        evaluated: The event of the trainer at which it is validated, and whether trainbus was attached before.
        transform: What the process function returns.
        options: Arguments of ``attach``.
    """

    def __init__(
        self,
        callbacks: Any,
        *,
        kind: type[Engine] = Engine,
        at: Any = Events.EPOCH_COMPLETED,
        first: bool = True,
        transform: Any = lambda loss: loss.item(),
        data: list[int] | None = None,
        **options: Any,
    ) -> None:
        torch.manual_seed(3)
        x = torch.randn(2 * BATCHES, 2)
        y = x.sum(1, keepdim=True)
        self.model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Dropout(0.25), torch.nn.Linear(4, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.loader: Any = DataLoader(TensorDataset(x, y), batch_size=2, shuffle=True)
        self.seen: list[float] = []

        def step(_: Engine, batch: Any) -> Any:
            self.model.train()
            self.optimizer.zero_grad()
            loss = mse(self.model(batch[0]), batch[1])
            loss.backward()
            self.optimizer.step()
            self.seen.append(loss.item())
            return transform(loss)

        def evaluate(_: Engine, batch: Any) -> Any:
            self.model.eval()
            with torch.no_grad():
                return self.model(batch[0]), batch[1]

        self.trainer, self.evaluator = kind(step), Engine(evaluate)

        def validate() -> None:
            self.evaluator.run(DataLoader(TensorDataset(x, y), batch_size=6))

        if not first:
            self.trainer.add_event_handler(at, validate)
        subject = TorchSubject(self.model, self.optimizer)
        self.bus = attach(self.trainer, subject, callbacks, self.evaluator, **{"verbose": 0, **options})
        if first:
            self.trainer.add_event_handler(at, validate)
        Loss(mse).attach(self.evaluator, "loss")

    def run(self, epochs: int = EPOCHS) -> Run:
        self.trainer.run(self.loader, max_epochs=epochs)
        return self.bus.run

    @property
    def parts(self) -> dict[str, Any]:
        return {"trainer": self.trainer, "model": self.model, "optimizer": self.optimizer, "trainbus": self.bus}


def by_auto(save_freq: Any = "epoch", **options: Any) -> Any:
    """Return a training that resumes from the files of trainbus."""

    def train(plugin: object, resume: bool) -> Run:
        callbacks = rules(plugin, save_freq=save_freq)
        return Training(callbacks, resume="auto" if resume else None, **options).run()

    return train


def by_ignite(event: Any, *, evaluator: bool = False, **options: Any) -> Any:
    """Return a training that resumes from the checkpoints of Ignite."""

    def train(plugin: object, resume: bool) -> Run:
        training = Training(rules(plugin), **options)
        saver = Checkpoint(
            training.parts,
            DiskSaver("own", require_empty=False),
            filename_pattern="own.pt",
            global_step_transform=lambda *_: training.trainer.state.iteration,
        )
        (training.evaluator if evaluator else training.trainer).add_event_handler(event, saver)
        if resume and Path("own/own.pt").exists():
            Checkpoint.load_objects(training.parts, "own/own.pt")
        return training.run()

    return train


@pytest.mark.parametrize("first", [True, False])
def test_the_four_behaviours_decide_as_in_a_plain_loop(first: bool) -> None:
    """Over the same metrics, whichever was attached first: trainbus, or the handler that validates."""
    done = Training(rules(TensorBoard("logs")), first=first).run()
    history = done.history
    assert len(history["val_loss"]) < EPOCHS
    assert history["learning_rate"][-1] < history["learning_rate"][0]
    assert Path("best.pt").exists()
    assert any(Path("logs").rglob("events*"))
    with Run(Training(()).bus._subject, rules(), verbose=0) as run:
        for epoch in run.epochs(EPOCHS):
            run.log(loss=history["loss"][epoch], val_loss=history["val_loss"][epoch])
    assert run.result.reason == done.result.reason
    assert run.history["learning_rate"] == history["learning_rate"]
    assert run.result.best == done.result.best


@pytest.mark.parametrize(
    ("train", "at"),
    [
        pytest.param(by_auto(), ["on_epoch_end"], id="auto"),
        pytest.param(by_ignite(Events.EPOCH_COMPLETED), ["on_epoch_end"], id="own checkpoint"),
        pytest.param(by_auto(1), ["on_batch_end", "on_epoch_begin"], id="auto, batches", marks=pytest.mark.exhaustive),
        pytest.param(by_auto(1), ["on_validation_end", "on_checkpoint"], id="auto, more", marks=pytest.mark.exhaustive),
        pytest.param(
            by_ignite(Events.EPOCH_COMPLETED, first=False), ["on_epoch_end", "on_batch_end"], id="own, attached later",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            by_ignite(Events.COMPLETED, evaluator=True), ["on_epoch_end", "on_batch_end"], id="of the evaluator",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            by_ignite(Events.ITERATION_COMPLETED), ["on_batch_end", "on_epoch_end"], id="own, batches",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            by_auto("validation", at=Events.ITERATION_COMPLETED(every=2)), ["on_batch_end"], id="validated in epochs",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            by_auto(kind=DeterministicEngine), ["on_epoch_end"], id="deterministic", marks=pytest.mark.exhaustive
        ),
    ],
)  # fmt: skip
def test_a_killed_training_resumes_exactly(train: Any, at: list[str]) -> None:
    check_binding(train, at=at)


def test_other_handlers_work_beside_it(capfd: pytest.CaptureFixture[str]) -> None:
    """Ignite's own early stopping, checkpoints, learning rate schedule and progress bar."""
    training = Training([EarlyStopping(patience=9)])
    trainer = training.trainer
    ProgressBar().attach(trainer)
    saver = Checkpoint(training.parts, DiskSaver("own", require_empty=False), n_saved=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, saver)
    stopping = IgniteEarlyStopping(patience=1, score_function=lambda _: 0.0, trainer=trainer)
    training.evaluator.add_event_handler(Events.COMPLETED, stopping)
    run = training.run()
    assert len(run.history["val_loss"]) == 2
    assert run.state.phase == "ended"
    assert run.error is None
    assert len(list(Path("own").iterdir())) == 2
    assert "Epoch" in capfd.readouterr().err


def test_the_best_weights_travel_in_a_checkpoint_of_ignite() -> None:
    """It loads with weights_only=True; the resumed training ends with the weights of the best epoch."""
    training = Training(rules(patience=0))
    saver = Checkpoint(training.parts, DiskSaver("own", require_empty=False), n_saved=1, filename_pattern="own.pt")
    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, saver)
    reason = training.run().result.reason
    assert "did not improve" in str(reason)
    again = Training(rules(patience=0))
    Checkpoint.load_objects(again.parts, "own/own.pt")
    run = again.run()
    assert again.seen == []
    assert run.result.reason == reason
    for name, tensor in training.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor)


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging")
def test_a_search_for_the_first_rate_leaves_rates_that_can_be_cut() -> None:
    """Its scheduler is gone when the training begins."""
    training = Training([ReduceLROnPlateau(monitor="loss", mode="min", patience=0, min_delta=9, factor=0.5)])
    model, optimizer = training.model, training.optimizer
    finder = FastaiLRFinder()
    with finder.attach(training.trainer, {"model": model, "optimizer": optimizer}, num_iter=3) as searching:
        searching.run(training.loader)
    del finder, searching
    training.trainer.run(training.loader, max_epochs=3)
    assert training.bus.run.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.05])


def test_a_finished_training_trains_on_with_more_epochs() -> None:
    """As Ignite does; with as many, it trains no batch."""
    callbacks = [EarlyStopping(patience=9), ModelCheckpoint("last.pt")]
    Training(callbacks).run(2)
    same = Training(callbacks, resume="auto")
    assert len(same.run(2).history["loss"]) == 2
    assert same.seen == []
    more = Training(callbacks, resume="auto")
    assert len(more.run(3).history["loss"]) == 3
    assert len(more.seen) == BATCHES
    assert more.trainer.state.epoch == 3


def test_the_next_run_continues_one_that_was_broken_off() -> None:
    """With resume="auto"; a run that ended in order is followed by a new one, which one line says."""
    broken = ModelCheckpoint("last.pt")
    training = Training(broken, resume="auto")

    def fail(engine: Engine) -> None:
        if engine.state.epoch == 3 and len(training.seen) == 3 * BATCHES:
            raise ZeroDivisionError

    training.trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)
    with pytest.raises(ZeroDivisionError):
        training.run()
    assert isinstance(training.bus.run.error, ZeroDivisionError)
    training.trainer.state.max_epochs = None
    assert len(training.run().history["loss"]) == EPOCHS
    assert len(training.seen) == EPOCHS * BATCHES + BATCHES


def test_a_stop_in_an_epoch_ends_the_epoch() -> None:
    """With its validation, as in a loop of one's own."""

    class Enough:
        @hookimpl
        def on_batch_end(self, step: int) -> Any:
            return stop("enough") if step == 4 else None

    training = Training(Enough())
    run = training.run()
    assert len(training.seen) == 4
    assert len(run.history["val_loss"]) == 2
    assert run.result.reason == "enough"
    assert training.trainer.state.epoch == 2


@pytest.mark.parametrize(
    ("output", "history"),
    [
        (lambda loss: loss.detach(), {"loss"}),
        (lambda loss: {"loss": loss.item(), "note": "a", "logits": torch.zeros(3)}, {"loss"}),
        (lambda loss: (1, 2), set()),
        (lambda loss: None, set()),
        (lambda loss: True, set()),
        (lambda loss: {"first": 1, "second": torch.tensor([2.0])}, {"first", "second"}),
    ],
)
def test_what_the_process_function_returns_is_logged_if_it_is_numbers(output: Any, history: set[str]) -> None:
    run = Training((), transform=output).run(1)
    assert set(run.history) - {"val_loss", "learning_rate"} == history


def test_metrics_of_the_trainer_replace_the_means_of_batches() -> None:
    training = Training((), transform=lambda loss: (loss.item(), 2), output_transform=lambda pair: pair[0])
    Average(output_transform=lambda pair: pair[1]).attach(training.trainer, "loss")
    Average(output_transform=lambda pair: pair[1]).attach(training.trainer, "two")
    run = training.run(2)
    assert run.history["loss"] == run.history["two"] == [2.0, 2.0]


def test_updates_are_counted_if_gradients_are_accumulated() -> None:
    assert Training((), accumulate=3).run(2).step == 2


@pytest.mark.parametrize("length", [None, 2])
def test_an_iterable_without_a_length_resumes(length: int | None) -> None:
    """Ignite finds out its length in the first epoch."""

    def train(plugin: object, resume: bool) -> Run:
        callbacks = [EarlyStopping(patience=9), ModelCheckpoint("last.pt", save_freq=1), plugin]
        training = Training(callbacks, resume="auto" if resume else None)
        loader = training.loader
        training.loader = type("Endless", (), {"__iter__": lambda _: iter(loader)})()
        training.trainer.run(training.loader, max_epochs=3, epoch_length=length)
        return training.bus.run

    run = train(EventRecorder(), False)
    assert run.step == 3 * (length or BATCHES)
    if length is None:
        again = train(EventRecorder(), True)
        assert again.history == run.history


def test_wrong_use_is_refused() -> None:
    trainer = Engine(lambda *_: None)
    for arguments, message in [
        (((lambda: None),), "is no Engine of Ignite"),
        ((trainer, None, (), 1), "evaluator=1 is no Engine"),
        ((trainer, None, (), trainer), "an engine of its own"),
    ]:
        with pytest.raises(SettingsError, match=message):
            attach(*arguments)
    with pytest.raises(SettingsError, match="accumulate=0"):
        attach(trainer, accumulate=0)
    with pytest.raises(SettingsError, match="unknown argument 'resum'; did you mean 'resume'"):
        attach(trainer, resum="auto")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    with pytest.raises(LoopError, match="no run yet"):
        _ = attach(trainer).run


def test_what_cannot_work_is_refused_before_the_first_batch() -> None:
    training = Training([ModelCheckpoint("best.npz")])
    with pytest.raises((SettingsError, MissingCapability), match=r"\.npz"):
        training.run()
    assert training.seen == []


def test_a_wrong_name_of_a_metric_is_refused() -> None:
    training = Training(EarlyStopping(monitor="val_los", mode="min"))
    with pytest.raises(MissingMetric, match="did you mean 'val_loss'"):
        training.run()
    assert isinstance(training.bus.run.error, MissingMetric)


def test_two_places_to_continue_from_are_refused() -> None:
    callbacks = ModelCheckpoint("last.pt")
    first = Training(callbacks)
    first.run(2)
    again = Training(callbacks, resume="last.pt")
    again.bus.load_state_dict(first.bus.state_dict())
    with pytest.raises(SettingsError, match="give one of them"):
        again.run()
    other = Training(callbacks)
    other.bus.load_state_dict(first.bus.state_dict())
    other.trainer.load_state_dict({"iteration": 1, "max_epochs": EPOCHS, "epoch_length": BATCHES})
    with pytest.raises(LoopError, match=r"after iteration 1, .* after iteration 6"):
        other.run()


def test_a_handler_of_the_user_handles_an_error() -> None:
    """Then ``trainer.run`` raises nothing, as without trainbus; the run has ended with the error."""
    training = Training(())

    def fail(_: Engine) -> None:
        raise ZeroDivisionError

    errors: list[BaseException] = []
    training.trainer.add_event_handler(Events.EPOCH_STARTED, fail)
    training.trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda _, error: errors.append(error))
    run = training.run()
    assert [type(each) for each in errors] == [ZeroDivisionError]
    assert run.error is errors[0]


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.GET_BATCH_COMPLETED])
def test_ctrl_c_ends_the_training_in_order(event: Any) -> None:
    """A real signal, in a batch or while the next is loaded: it is finished, saved, and KeyboardInterrupt is raised."""
    training = Training(ModelCheckpoint("last-{step}.pt", save_on="signal"))

    def interrupt(engine: Engine) -> None:
        if len(training.seen) == 4 and not Path("sent").exists():
            Path("sent").touch()
            os.kill(os.getpid(), signal.SIGINT)

    training.trainer.add_event_handler(event, interrupt)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert training.bus.run.state.phase == "ended"
    assert len(training.seen) == 5
    assert Path("signal.pt").exists()
    again = Training(ModelCheckpoint("last-{step}.pt", save_on="signal"), resume="auto")
    run = again.run()
    assert len(again.seen) == EPOCHS * BATCHES - 5
    assert run.history["val_loss"] == Training(()).run().history["val_loss"]


def test_a_checkpoint_inside_of_a_batch_is_refused() -> None:
    training = Training(())
    saver = Checkpoint(training.parts, DiskSaver("own", require_empty=False))
    training.trainer.add_event_handler(Events.ITERATION_STARTED, saver)
    with pytest.raises(LoopError, match=r"inside of a batch.*when the batch or the epoch has ended"):
        training.run()


def test_the_state_before_a_run_is_empty() -> None:
    handler = attach(Engine(lambda *_: 0))
    assert isinstance(handler, IgniteHandler)
    assert handler.state_dict() == {}
    handler.load_state_dict({})
    assert handler.state_dict() == {}
