"""Lightning trains, and trainbus's callbacks act in its ``fit``."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus import LoopError, MissingMetric, Run, SettingsError, TrainbusError, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard

pl = pytest.importorskip("lightning.pytorch", reason="needs trainbus[lightning]")

from trainbus.adapters.lightning import LightningCallback  # noqa: E402

from .trainings import QUIET, Regression, Scripted, TwoOptimizers, fit, loaders, quiet  # noqa: E402, F401

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("in_tmp_path")]


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of the test."""
    monkeypatch.chdir(tmp_path)


def in_a_loop(values: list[float], callbacks: Any, rate: float = 0.1) -> Run:
    """Log the values in a plain loop."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    with Run(TorchSubject(model, optimizer), callbacks) as run:
        for epoch in run.epochs(len(values)):
            for _ in run.batches(range(4)):
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
            with run.validation():
                run.log(val_loss=torch.tensor(values[epoch], dtype=torch.float64))
    return run


VALUES = [
    [5.0, 4.0, 4.0, 4.0, 4.0, 4.0],
    [1.0, 2.0, 3.0, 0.5, 0.6, 0.7],
    *(
        pytest.param(values, marks=pytest.mark.exhaustive)
        for values in ([3.0, float("nan"), 3.0, 2.0, 2.0, 2.0], [1.0] * 6, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    ),
]


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_it_decides_as_a_plain_loop_does(values: list[float], tmp_path: Path) -> None:
    """The same stop, the same rates and the same files."""

    def listed(folder: str) -> list[Any]:
        return [
            EarlyStopping(patience=2, restore_best_weights=True),
            ReduceLROnPlateau(patience=1, factor=0.5),
            ModelCheckpoint(f"{folder}/best-{{epoch}}.pt", save_best_only=True),
        ]

    own = in_a_loop(values, listed("loop"))
    trainer, bus = fit(listed("lightning"), Scripted(values), epochs=len(values))

    assert bus.run.result.reason == own.result.reason
    assert trainer.current_epoch == len(own.state.epoch_metrics)
    assert str(bus.run.history) == str(own.history)
    assert sorted(each.name for each in (tmp_path / "lightning").glob("best*")) == sorted(
        each.name for each in (tmp_path / "loop").glob("best*")
    )


def test_the_metrics_are_those_that_the_module_logs() -> None:
    """Also those of its own hook at the end of an epoch; the step is that of the trainer."""
    trainer, bus = fit()

    assert set(bus.run.history) == {
        *("loss", "loss_step", "loss_epoch", "number", "highest", "score"),
        *("val_loss", "learning_rate"),
    }
    assert bus.run.history["score"] == [0.0, 1.0, 2.0]
    assert bus.run.history["number"] == [3.0, 3.0, 3.0]
    assert bus.run.history["val_loss"][-1] == trainer.callback_metrics["val_loss"].item()
    assert bus.run.step == trainer.global_step == 12
    assert "on_train_epoch_end" not in vars(trainer.lightning_module)


class Validations:
    """Records where validations end."""

    def __init__(self) -> None:
        self.at: list[tuple[int, int]] = []

    @hookimpl
    def on_validation_end(self, run: Run) -> None:
        self.at.append((run.epoch, run.state.counters.trained_batches))


FREQUENCIES = [
    ({}, [(0, 4), (1, 4), (2, 4), (3, 4)]),
    pytest.param({"num_sanity_val_steps": 0}, [(0, 4), (1, 4), (2, 4), (3, 4)], marks=pytest.mark.exhaustive),
    ({"val_check_interval": 0.5}, [(0, 2), (0, 4), (1, 2), (1, 4), (2, 2), (2, 4), (3, 2), (3, 4)]),
    pytest.param({"val_check_interval": 3}, [(0, 3), (1, 3), (2, 3), (3, 3)], marks=pytest.mark.exhaustive),
    ({"check_val_every_n_epoch": 2}, [(1, 4), (3, 4)]),
    ({"check_val_every_n_epoch": None, "val_check_interval": 6}, [(1, 2), (2, 4)]),
    ({"limit_val_batches": 0}, []),
]


@pytest.mark.parametrize(("settings", "expected"), FREQUENCIES, ids=str)
def test_validations_are_where_lightning_has_them(settings: dict[str, Any], expected: list[tuple[int, int]]) -> None:
    """A sanity check is none, and an epoch without one has no value of an earlier one."""
    listener = Validations()
    _, bus = fit([listener], epochs=4, **settings)

    assert listener.at == expected
    validated = {epoch for epoch, _ in expected}
    logged = {epoch for epoch, metrics in bus.run.state.epoch_metrics if metrics.get("val_loss") is not None}
    assert logged == validated


class OfTwoSets(Regression):
    """Validates on two sets of data."""

    def validation_step(self, batch: torch.Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", self.layer(batch).pow(2).mean())

    def on_validation_epoch_end(self) -> None:
        self.log("val_score", 1.0 + self.current_epoch)


def test_several_sets_of_validation_data() -> None:
    """The metrics have Lightning's names, and also those of the hook at the end of a validation."""
    bus = LightningCallback(EarlyStopping(monitor="val_score", patience=1))
    train, validation = loaders()
    pl.Trainer(callbacks=[bus], max_epochs=4, **QUIET).fit(OfTwoSets(), train, [validation, validation])

    assert bus.run.history["val_score"] == [1.0, 2.0, 3.0, 4.0]
    names = [f"val_loss/dataloader_idx_{number}" for number in (0, 1)]
    assert all(len(bus.run.history[name]) == 4 for name in names)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_steps_are_weight_updates(accumulate: int) -> None:
    trainer, bus = fit(accumulate_grad_batches=accumulate)

    assert bus.run.step == trainer.global_step == 3 * -(-4 // accumulate)


def test_manual_optimisation_with_two_optimizers() -> None:
    """Both rates are cut, the file holds both states, and a step is an update of either."""
    callbacks = [ReduceLROnPlateau(monitor="loss", patience=1, min_delta=10, factor=0.5), ModelCheckpoint("m.pt")]
    trainer, bus = fit(callbacks, TwoOptimizers(), epochs=4)

    rates = {name: values for name, values in bus.run.history.items() if "learning_rate" in name}
    assert len(rates) == 2
    assert all(values == [values[0] / each for each in (1, 1, 2, 4)] for values in rates.values())
    assert bus.run.step == trainer.global_step == 32
    assert len(torch.load("m.pt", weights_only=True)["optimizers"]) == 2


@pytest.mark.parametrize("scheduler", ["", "epoch", "step"])
def test_a_cut_survives_schedules_that_lightning_steps(scheduler: str) -> None:
    uncut = fit((), Regression(scheduler), epochs=5)[1].run.history["learning_rate"]
    cut = ReduceLROnPlateau(monitor="score", mode="min", patience=1, factor=0.5)
    _, bus = fit([cut], Regression(scheduler), epochs=5)

    factors = [one / other for one, other in zip(bus.run.history["learning_rate"], uncut, strict=True)]
    assert factors == pytest.approx([1, 1, 0.5, 0.25, 0.125])
    assert not bus.run.failures


def test_charts_and_the_journal_are_written(tmp_path: Path) -> None:
    _, bus = fit([TensorBoard("logs", write_graph=True, histogram_freq=1, update_freq="batch")], epochs=2)

    assert list((tmp_path / "logs").rglob("events.out.*"))
    assert not bus.run.failures


class StopsAtBatch:
    """Stops in the middle of an epoch."""

    @hookimpl
    def on_batch_end(self, run: Run, epoch: int, batch: int) -> None:
        if (epoch, batch) == (1, 1):
            run.stop("enough")


def test_a_stop_inside_of_an_epoch_ends_it() -> None:
    trainer, bus = fit([StopsAtBatch()], epochs=5)

    assert (trainer.global_step, trainer.current_epoch, bus.run.result.reason) == (6, 2, "enough")
    assert len(bus.run.history["val_loss"]) == 2


def test_lightning_obeys_a_stop_after_its_least_number_of_epochs() -> None:
    """The run is told of all epochs."""
    trainer, bus = fit([EarlyStopping(patience=1, min_delta=10)], epochs=8, min_epochs=5)

    assert trainer.current_epoch == len(bus.run.history["val_loss"]) == 5


class InterruptsAtBatch:
    """Ends the run in the middle of an epoch, as a time limit does."""

    @hookimpl
    def on_batch_end(self, run: Run, epoch: int, batch: int) -> None:
        if (epoch, batch) == (1, 1):
            run.interrupt("the limit")


@pytest.mark.parametrize("least", [None, 3])
def test_an_interrupted_run_ends_the_fit(least: int | None, caplog: pytest.LogCaptureFixture) -> None:
    """The epoch stays open; if Lightning trains on to its least number of epochs, this is said."""
    trainer, bus = fit([InterruptsAtBatch()], epochs=5, min_epochs=least)

    assert (bus.run.step, bus.run.result.reason) == (6, "the limit asked for it")
    assert trainer.global_step == (12 if least else 6)
    assert len(bus.run.history["val_loss"]) == 1
    assert ("trains on without callbacks" in caplog.text) == bool(least)


@pytest.mark.parametrize("call", ["fit", "validate"])
def test_the_trainer_of_the_other_package_is_refused(call: str) -> None:
    """It has the same classes once more."""
    other = pytest.importorskip("pytorch_lightning")

    class Module(other.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        training_step = Regression.training_step
        validation_step = Regression.validation_step
        configure_optimizers = Regression.configure_optimizers

    trainer = other.Trainer(callbacks=[LightningCallback(verbose=0)], **QUIET)
    with pytest.raises(SettingsError, match=r"write `import lightning.pytorch as pl` in place of"):
        getattr(trainer, call)(Module(), loaders()[0])


@pytest.mark.parametrize("first", [True, False])
def test_a_search_for_the_first_rate_leaves_rates_that_can_be_cut(first: bool, tmp_path: Path) -> None:
    """Its scheduler is gone when the training begins."""
    bus = LightningCallback([ReduceLROnPlateau(patience=0, min_delta=10, factor=0.5)], verbose=0)
    finder = pl.callbacks.LearningRateFinder(num_training_steps=3, update_attr=False)
    train, validation = loaders()
    listed = [finder, bus] if first else [bus, finder]
    trainer = pl.Trainer(callbacks=listed, max_epochs=3, default_root_dir=tmp_path, **QUIET)
    trainer.fit(Regression(), train, validation)
    assert bus.run.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.05])


def test_its_own_callbacks_work_beside_it(tmp_path: Path) -> None:
    """Its checkpoints hold the state of the run; its progress bar is the only one."""
    beside = [
        pl.callbacks.ModelCheckpoint("own", monitor="val_loss", save_last=True),
        pl.callbacks.EarlyStopping("val_loss", patience=1, min_delta=10),
        pl.callbacks.LearningRateMonitor(),
        pl.callbacks.TQDMProgressBar(),
    ]
    trainer, bus = fit(
        [EarlyStopping(patience=2, min_delta=10, verbose=1)],
        Regression("epoch"),
        epochs=6,
        beside=beside,
        enable_progress_bar=True,
        enable_checkpointing=True,
        logger=pl.loggers.CSVLogger("csv"),
    )

    assert trainer.current_epoch == len(bus.run.history["val_loss"]) == 2
    assert bus.run.result.reason == "the loop ended"
    assert "LightningCallback" in torch.load(tmp_path / "own/last.ckpt", weights_only=True)["callbacks"]
    assert bus.run.plugins["progress"].framework_draws


REFUSED = [
    ([EarlyStopping(monitor="val_los")], {}, TrainbusError, "did you mean 'val_loss'"),
    ([EarlyStopping(monitor="val_los", mode="min")], {}, MissingMetric, "did you mean 'val_loss'"),
    ([EarlyStopping(monitor="acuracy", mode="max")], {}, MissingMetric, r"log it: self\.log\('acuracy', value\)"),
    ([EarlyStopping()], {"limit_val_batches": 0}, MissingMetric, "give the LightningModule a validation_step"),
    ([ModelCheckpoint("m.keras")], {}, TrainbusError, r"\.keras"),
    ([EarlyStopping(patience=9)], {"options": {"resume": "nowhere"}}, TrainbusError, "nowhere"),
    ([EarlyStopping(), 3], {}, SettingsError, "int is not a callback"),
]


@pytest.mark.parametrize(("callbacks", "settings", "kind", "message"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_cannot_work_is_refused(
    callbacks: list[Any], settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        fit(callbacks, **settings)


ARGUMENTS = [
    ({"callbacks": {"a": EarlyStopping()}}, r"list\(callbacks.values\(\)\)"),
    ({"resum": "auto"}, "did you mean 'resume'"),
    ({"patience": 3}, "patience"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS, ids=str)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    """When the callback is made."""
    with pytest.raises(SettingsError, match=message):
        LightningCallback(**arguments)


def test_several_callbacks_go_into_one_list() -> None:
    with pytest.raises(SettingsError, match=r"LightningCallback\(\[\.\.\.\]\)"):
        LightningCallback(EarlyStopping(), ModelCheckpoint("m.pt"))  # type: ignore[misc]


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed"])
def test_a_strategy_that_divides_the_model_is_refused(strategy: str) -> None:
    """Before the training; the message names what to use."""
    made = (
        pl.strategies.FSDPStrategy() if strategy == "fsdp" else type("DeepSpeedStrategy", (pl.strategies.Strategy,), {})
    )

    class Trainer:
        fast_dev_run = False

    trainer: Any = Trainer()
    trainer.strategy = made
    with pytest.raises(SettingsError, match=r"use Trainer\(strategy='ddp'\)"):
        LightningCallback().on_fit_start(trainer, Regression())


def test_there_is_no_run_before_the_first_fit() -> None:
    with pytest.raises(LoopError, match=r"Trainer\(callbacks=\[this LightningCallback\]\)"):
        LightningCallback().run  # noqa: B018


def test_a_run_for_development_uses_no_callback(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """As with Lightning's own: it would save over real files."""
    trainer, bus = fit([ModelCheckpoint("m.pt")], fast_dev_run=True)

    assert trainer.global_step == 1
    assert not list(tmp_path.iterdir())
    assert "fast_dev_run" in caplog.text
    with pytest.raises(LoopError):
        bus.run  # noqa: B018


def test_each_fit_is_a_run() -> None:
    """A second one of the same trainer continues to count; one of a new trainer begins anew."""
    trainer, bus = fit([EarlyStopping(patience=1, min_delta=10)], epochs=2)
    first = bus.run
    train, validation = loaders()
    trainer.fit_loop.max_epochs = 5
    trainer.fit(trainer.lightning_module, train, validation)
    second = bus.run
    third = fit(bus)[1].run

    assert [each.state.epochs_finished for each in (first, second, third)] == [2, 4, 2]
    assert [each.step for each in (first, second, third)] == [8, 16, 8]
    assert [len(each.history["val_loss"]) for each in (first, second, third)] == [2, 2, 2]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_keep_the_settings(copied: Any) -> None:
    """And the result of the last run."""
    bus = fit([EarlyStopping(patience=1, min_delta=10)], options={"verbose": 0})[1]
    other = copied(bus)

    assert other.run.result.reason == bus.run.result.reason
    assert fit(other)[1].run.result.reason == bus.run.result.reason
    assert bus.run is not other.run


class Fails(Regression):
    """Raises an error in a batch of the second epoch."""

    fails = True

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (1, 2) and self.fails:
            raise RuntimeError("no memory")
        return super().training_step(batch, batch_idx)


def test_a_fit_that_has_nothing_to_train_is_a_run() -> None:
    """Of a path, one that was over stays over, with its history."""
    _, bus = fit([EarlyStopping()], epochs=0)
    beside = [pl.callbacks.ModelCheckpoint("own", save_last=True)]
    first = fit(beside=beside, epochs=2, enable_checkpointing=True)[1]
    again = fit(epochs=2, path="own/last.ckpt")[1]

    assert (bus.run.result.reason, bus.run.result.epochs) == ("the loop ended", 0)
    assert again.run.history == first.run.history
    assert again.run.step == 8


@pytest.mark.parametrize("again", ["auto", "path"])
def test_an_error_ends_the_run_and_the_next_fit_continues_it(again: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With "auto" also one of the same callback; Lightning's checkpoint of an error holds the state as well."""
    unbroken = fit(epochs=3)[1].run
    save = ModelCheckpoint("m-{step}.pt", save_on=["exception"])
    bus = LightningCallback([save], resume="auto" if again == "auto" else None)
    beside = [pl.callbacks.OnExceptionCheckpoint(".", "error")]
    with pytest.raises(RuntimeError, match="no memory"):
        fit(bus, Fails, beside=beside, enable_checkpointing=True)
    assert isinstance(bus.run.error, RuntimeError)

    if again == "path":
        bus = LightningCallback()
    monkeypatch.setattr(Fails, "fails", False)
    continued = fit(bus, Fails, path="error.ckpt" if again == "path" else None)[1].run

    assert continued.history == unbroken.history
    assert continued.step == 12


def test_a_checkpoint_without_the_state_begins_the_callbacks_anew(caplog: pytest.LogCaptureFixture) -> None:
    """At the epoch of the checkpoint."""
    trainer = pl.Trainer(max_epochs=2, **QUIET)
    trainer.fit(Regression(), loaders()[0])
    trainer.save_checkpoint("plain.ckpt")
    bus = fit([EarlyStopping(patience=1, min_delta=10)], epochs=9, path="plain.ckpt")[1]

    assert [epoch for epoch, _ in bus.run.state.epoch_metrics] == [2, 3]
    assert bus.run.step == 16
    assert "holds no state of this LightningCallback" in caplog.text


def test_a_checkpoint_without_the_state_begins_a_run_that_can_be_resumed() -> None:
    """With resume="auto" as well: first nothing is there, then the newest checkpoint is used."""
    trainer = pl.Trainer(max_epochs=2, **QUIET)
    trainer.fit(Regression(), loaders()[0])
    trainer.save_checkpoint("plain.ckpt")
    for epochs in (3, 4):
        bus = fit([ModelCheckpoint("m.pt")], epochs=epochs, path="plain.ckpt", options={"resume": "auto"})[1]

    assert [epoch for epoch, _ in bus.run.state.epoch_metrics] == [2, 3]
    assert bus.run.step == 16


def test_a_path_has_precedence(caplog: pytest.LogCaptureFixture) -> None:
    """Over resume="auto"."""
    beside = [pl.callbacks.ModelCheckpoint("own", save_last=True)]
    fit([ModelCheckpoint("m.pt")], beside=beside, epochs=2, enable_checkpointing=True)
    bus = fit([ModelCheckpoint("m.pt")], epochs=3, path="own/last.ckpt", options={"resume": "auto"})[1]

    assert len(bus.run.history["val_loss"]) == 3
    assert "resume='auto' is not used" in caplog.text


def test_validating_a_checkpoint_affects_no_later_fit() -> None:
    """Lightning loads the states of callbacks then, too."""
    beside = [pl.callbacks.ModelCheckpoint("own", save_last=True)]
    trainer, bus = fit(beside=beside, epochs=2, enable_checkpointing=True)
    trainer.validate(trainer.lightning_module, loaders()[1], ckpt_path="own/last.ckpt", verbose=False)
    again = fit(bus, epochs=2)[1]

    assert again.run.resumed is None
    assert again.run.step == 8


def test_a_checkpoint_in_a_batch_has_no_state_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    """One line says so, and a fit from it begins the callbacks anew, instead of a state that is not right."""

    class Saves(pl.Callback):
        def on_before_zero_grad(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
            trainer.save_checkpoint("inside.ckpt")

    fit([EarlyStopping(patience=9)], beside=[Saves()], epochs=1)
    saved = torch.load("inside.ckpt", weights_only=True)

    assert "saved inside of a batch, without the state of the run" in caplog.text
    assert not [key for key in saved["callbacks"] if "LightningCallback" in key]


def test_activations_need_a_probe_which_the_callback_takes(caplog: pytest.LogCaptureFixture) -> None:
    fit([TensorBoard("logs", histogram_freq=1)], epochs=1)

    assert "give it: LightningCallback(..., probe=validation_loader)" in caplog.text
