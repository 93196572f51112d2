"""skorch fits, trainbus decides: a run in each ``fit``."""

from __future__ import annotations

import copy
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("skorch")

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, Checkpoint, EpochScoring, LRScheduler, ProgressBar
from skorch.callbacks import EarlyStopping as SkorchEarlyStopping
from skorch.dataset import ValidSplit

from trainbus import LoopError, MissingCapability, MissingMetric, Run, SettingsError, hookimpl
from trainbus.adapters.skorch import SkorchCallback
from trainbus.decision import stop
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import check_binding

EPOCHS, BATCHES = 5, 3


class Module(torch.nn.Module):
    """A small module with dropout."""

    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, units), torch.nn.Dropout(0.25), torch.nn.Linear(units, 1))

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Counter(Callback):  # type: ignore[misc, unused-ignore]
    """Counts the updates."""

    updates = 0

    def on_grad_computed(self, *_: Any, **__: Any) -> None:
        self.updates_ = getattr(self, "updates_", 0) + 1


def data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    return x, x.sum(1, keepdims=True)


def net_with(*callbacks: Any, **options: Any) -> Any:
    torch.manual_seed(3)
    given = {"max_epochs": EPOCHS, "batch_size": 2, "lr": 0.03, "iterator_train__shuffle": True, "verbose": 0}
    given |= {"optimizer": torch.optim.Adam, "train_split": ValidSplit(4), "callbacks": list(callbacks)}
    return NeuralNetRegressor(Module, **{**given, **options})


def rules(*more: object, save_freq: Any = "epoch", **stopping: Any) -> list[Any]:
    return [
        EarlyStopping(**{"patience": 1, "min_delta": 0.05, "restore_best_weights": True, **stopping}),
        ReduceLROnPlateau(monitor="train_loss", mode="min", patience=0, min_delta=0.3, factor=0.5),
        ModelCheckpoint("best.pt", save_best_only=True),
        ModelCheckpoint("last-{step}.pt", save_freq=save_freq, keep_last=2),
        *more,
    ]


def by_auto(save_freq: Any = "epoch") -> Any:
    """Return a training that resumes from the files of trainbus."""

    def train(plugin: object, resume: bool) -> Run:
        bus = SkorchCallback(rules(plugin, save_freq=save_freq), verbose=0, resume="auto" if resume else None)
        net_with(bus).fit(*data())
        return bus.run

    return train


def by_pickle(*, first: bool, every_batch: bool = False) -> Any:
    """Return a training that resumes from a pickle of the net, which skorch's own callback writes."""

    class Pickler(Callback):  # type: ignore[misc, unused-ignore]
        def on_batch_begin(self, net: Any, training: bool = False, **_: Any) -> None:
            if every_batch and training and len(net.history[-1, "batches"]) > 1:
                self.on_epoch_end(net)

        def on_epoch_end(self, net: Any, **_: Any) -> None:
            bus = next(each for _, each in net.callbacks_ if isinstance(each, SkorchCallback))
            state = (
                net.module_.state_dict(),
                net.optimizer_.state_dict(),
                list(net.history),
                bus.__getstate__()["given_"],
            )
            Path("own.new").write_bytes(pickle.dumps(state))
            Path("own.new").rename("own.pkl")

    def train(plugin: object, resume: bool) -> Run:
        bus = SkorchCallback(rules(plugin), verbose=0)
        net = net_with(*((bus, Pickler()) if first else (Pickler(), bus))).initialize()
        if resume and Path("own.pkl").exists():
            model, optimizer, history, bus.given_ = pickle.loads(Path("own.pkl").read_bytes())
            net.module_.load_state_dict(model)
            net.optimizer_.load_state_dict(optimizer)
            net.history.extend(history)
        net.partial_fit(*data())
        return bus.run

    return train


def test_the_four_behaviours_decide_as_in_a_plain_loop() -> None:
    """Over the same metrics."""
    bus = SkorchCallback(rules(TensorBoard("logs")), verbose=0)
    net = net_with(bus).fit(*data())
    history = bus.run.history
    assert len(history["valid_loss"]) < EPOCHS
    assert history["learning_rate"][-1] < history["learning_rate"][0]
    assert history["valid_loss"] == net.history[:, "valid_loss"]
    np.testing.assert_allclose(history["train_loss"], net.history[:, "train_loss"], rtol=1e-12)
    assert Path("best.pt").exists()
    assert any(Path("logs").rglob("events*"))
    with Run(net_subject(), rules(), verbose=0) as run:
        for epoch in run.epochs(EPOCHS):
            run.log(train_loss=history["train_loss"][epoch], valid_loss=history["valid_loss"][epoch])
    assert run.result.reason == bus.run.result.reason
    assert run.history["learning_rate"] == history["learning_rate"]
    assert run.result.best == bus.run.result.best


def net_subject() -> Any:
    bus = SkorchCallback(verbose=0)
    net_with(bus, max_epochs=0).fit(*data())
    return bus.run.subject


EXHAUSTIVE = pytest.mark.exhaustive


@pytest.mark.parametrize(
    ("train", "at"),
    [
        pytest.param(by_auto(), ["on_epoch_end"], id="auto"),
        pytest.param(by_pickle(first=True), ["on_epoch_end"], id="pickle"),
        pytest.param(by_auto(1), ["on_batch_end", "on_epoch_begin"], id="auto, batches", marks=EXHAUSTIVE),
        pytest.param(by_auto(2), ["on_validation_end", "on_checkpoint"], id="auto, every 2nd", marks=EXHAUSTIVE),
        pytest.param(by_pickle(first=False), ["on_epoch_end", "on_batch_end"], id="pickle, before", marks=EXHAUSTIVE),
        pytest.param(by_pickle(first=True, every_batch=True), ["on_batch_end"], id="pickle, batch", marks=EXHAUSTIVE),
    ],
)
def test_a_killed_training_resumes_exactly(train: Any, at: list[str]) -> None:
    check_binding(train, at=at)


class PicklesItself(Callback):  # type: ignore[misc, unused-ignore]
    """Pickles the net in the middle of a batch."""

    def on_batch_end(self, net: Any, training: bool = False, **_: Any) -> None:
        pickle.dumps(net)


def test_a_pickle_in_a_batch_has_no_state_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    """Which one line in the log says."""
    net_with(PicklesItself(), SkorchCallback(verbose=0), max_epochs=1).fit(*data())
    assert "pickled inside of a batch" in caplog.text


def test_skorchs_own_callbacks_work_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule, scores, early stopping, a checkpoint that holds the net with the state of the run, a progress bar."""
    bus = SkorchCallback([EarlyStopping(monitor="mae", mode="min", patience=9)], verbose=0)
    scores = EpochScoring("neg_mean_absolute_error", lower_is_better=False, name="mae")
    others = [LRScheduler("StepLR", step_size=1), SkorchEarlyStopping("valid_loss", patience=1, threshold=9.0)]
    net = net_with(*others, bus, scores, Checkpoint(dirname="own", f_pickle="net.pkl"), ProgressBar(), verbose=1)
    net.fit(*data())
    assert len(bus.run.history["mae"]) == len(net.history) == 2
    assert bus.run.error is None
    assert Path("own/net.pkl").exists()
    assert "valid_loss" in capsys.readouterr().out
    with pytest.raises(SettingsError, match="list SkorchCallback after LRScheduler"):
        net_with(SkorchCallback(verbose=0), LRScheduler()).fit(*data())


def test_a_net_pickled_by_skorch_continues_the_run() -> None:
    """With its patience, its best weights and its history."""
    bus = SkorchCallback(rules(patience=0), verbose=0)
    saver = Checkpoint(dirname="own", f_pickle="net.pkl", monitor=None)
    whole = net_with(bus, saver).fit(*data())
    with Path("own/net.pkl").open("rb") as file:
        net = pickle.load(file)
    again = next(each for _, each in net.callbacks_ if isinstance(each, SkorchCallback))
    net.partial_fit(*data())
    assert again.run.result.reason == bus.run.result.reason
    assert again.run.history == bus.run.history
    assert len(net.history) == len(whole.history)
    for name, tensor in whole.module_.state_dict().items():
        assert torch.equal(net.module_.state_dict()[name], tensor)


def test_the_history_of_a_resumed_fit_has_the_earlier_epochs() -> None:
    callbacks = ModelCheckpoint("last.pt")
    whole = net_with(SkorchCallback(callbacks, verbose=0), max_epochs=3).fit(*data())
    counter = Counter()
    net = net_with(counter, SkorchCallback(callbacks, verbose=0, resume="auto")).fit(*data())
    assert net.history[:3, "valid_loss"] == whole.history[:, "valid_loss"]
    assert net.history[:, "epoch"] == [1, 2, 3, 4, 5]
    assert counter.updates_ == 2 * BATCHES
    assert net.max_epochs == EPOCHS
    done = net_with(Counter(), SkorchCallback(callbacks, verbose=0, resume="auto")).fit(*data())
    assert len(done.history) == EPOCHS
    assert done.max_epochs == EPOCHS


def test_partial_fit_counts_on() -> None:
    bus = SkorchCallback(EarlyStopping(patience=9), verbose=0)
    net = net_with(bus, max_epochs=2).fit(*data())
    first = bus.run
    net.partial_fit(*data())
    assert bus.run is not first
    assert [epoch for epoch, _ in bus.run.state.epoch_metrics] == [2, 3]
    assert len(net.history) == 4
    net.fit(*data())
    assert [epoch for epoch, _ in bus.run.state.epoch_metrics] == [0, 1]


def test_each_fit_of_a_grid_search_is_a_run_of_its_own() -> None:
    """Clones have the settings; their files have their names by {run}."""
    bus = SkorchCallback([EarlyStopping(patience=9), ModelCheckpoint("{run}/best.pt")], verbose=0)
    net = net_with(bus, max_epochs=2, train_split=ValidSplit(2))
    search = GridSearchCV(net, {"module__units": [2, 3]}, cv=2, scoring="neg_mean_squared_error").fit(*data())
    assert len(list(Path().glob("*/best.pt"))) == 5
    refitted = next(each for _, each in search.best_estimator_.callbacks_ if isinstance(each, SkorchCallback))
    assert len(refitted.run.history["train_loss"]) == 2
    with pytest.raises(LoopError, match="no run yet"):
        _ = bus.run


def test_clones_copies_and_pickles_keep_the_settings() -> None:
    bus = SkorchCallback([EarlyStopping(patience=3)], verbose=0, run_id="mine", hparams={"a": 1})
    for other in (copy.deepcopy(bus), pickle.loads(pickle.dumps(bus)), clone(bus), clone(net_with(bus)).callbacks[0]):
        assert other is not bus
        assert other.get_params()["run_id"] == "mine"
        assert other.get_params()["hparams"] == {"a": 1}
        assert other.callbacks == bus.callbacks
    net_with(bus).set_params(callbacks__SkorchCallback__run_id="yours").fit(*data())
    assert bus.run.run_id == "yours"
    assert pickle.loads(pickle.dumps(bus)).run.history == bus.run.history


def test_a_stop_in_an_epoch_ends_the_fit() -> None:
    """As in skorch, without a validation."""

    class Enough:
        @hookimpl
        def on_batch_end(self, step: int) -> Any:
            return stop("enough") if step == 4 else None

    bus, counter = SkorchCallback([Enough(), EarlyStopping(patience=9)], verbose=0), Counter()
    net_with(counter, bus).fit(*data())
    assert counter.updates_ == 4
    assert bus.run.result.reason == "enough"
    assert bus.run.state.phase == "ended"


def test_ctrl_c_ends_the_fit_and_partial_fit_continues_it() -> None:
    """A real signal: the batch is finished, and the state is saved; skorch handles the KeyboardInterrupt."""
    whole = SkorchCallback((), verbose=0)
    net_with(whole).fit(*data())

    class Interrupts(Callback):  # type: ignore[misc, unused-ignore]
        def on_batch_begin(self, net: Any, training: bool = False, **_: Any) -> None:
            second = training and len(net.history) == 2 and len(net.history[-1, "batches"]) == 2
            if second and not Path("sent").exists():
                Path("sent").touch()
                os.kill(os.getpid(), signal.SIGINT)

    bus = SkorchCallback(ModelCheckpoint("last.pt"), verbose=0)
    net = net_with(Interrupts(), bus).fit(*data())
    assert bus.run.state.interrupted
    assert bus.run.state.phase == "ended"
    assert Path("signal.pt").exists()
    counter = Counter()
    other = SkorchCallback(ModelCheckpoint("last.pt"), verbose=0, resume="auto")
    net_with(counter, other).fit(*data())
    assert counter.updates_ == EPOCHS * BATCHES - 5
    net.partial_fit(*data())
    assert bus.run.history == other.run.history == whole.run.history


def test_what_cannot_work_is_refused_before_the_training() -> None:
    with pytest.raises(SettingsError, match="unknown argument 'resum'; did you mean 'resume'"):
        SkorchCallback(resum="auto")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    counter = Counter()
    with pytest.raises((SettingsError, MissingCapability), match=r"\.npz"):
        net_with(counter, SkorchCallback(ModelCheckpoint("a.npz"), verbose=0)).fit(*data())
    assert not hasattr(counter, "updates_")


@pytest.mark.parametrize(
    ("name", "fix"),
    [("valid_los", "mean 'valid_loss'"), ("trainloss", "mean 'train_loss'"), ("spearman", "EpochScoring")],
)
def test_a_wrong_name_of_a_metric_is_refused(name: str, fix: str) -> None:
    with pytest.raises(MissingMetric, match=fix):
        net_with(SkorchCallback(EarlyStopping(monitor=name, mode="min"), verbose=0)).fit(*data())


def test_without_validation_data_the_training_decides() -> None:
    bus = SkorchCallback(EarlyStopping(monitor="train_loss", patience=9), verbose=0)
    net_with(bus, train_split=None, max_epochs=2).fit(*data())
    assert set(bus.run.history) == {"train_loss", "learning_rate"}
    with pytest.raises(MissingMetric, match="train_split"):
        net_with(SkorchCallback(EarlyStopping(), verbose=0), train_split=None).fit(*data())


def test_an_error_in_a_fit_is_followed_by_a_run_of_its_own() -> None:
    """Skorch says nothing to callbacks; the broken run has ended when the next fit begins."""

    class Fails(Callback):  # type: ignore[misc, unused-ignore]
        def on_epoch_end(self, net: Any, **_: Any) -> None:
            if not Path("failed").exists():
                Path("failed").touch()
                raise ZeroDivisionError

    bus = SkorchCallback(ModelCheckpoint("last.pt"), verbose=0)
    net = net_with(Fails(), bus)
    with pytest.raises(ZeroDivisionError):
        net.fit(*data())
    broken = bus.run
    net.fit(*data())
    assert broken.state.phase == "ended"
    assert broken.error is not None
    assert len(bus.run.history["train_loss"]) == EPOCHS
    assert net.max_epochs == EPOCHS


def test_activations_need_a_probe_which_the_callback_takes(caplog: pytest.LogCaptureFixture) -> None:
    """The line that says so names what the user writes."""
    charts = TensorBoard("logs", histogram_freq=1)
    net_with(SkorchCallback(charts, verbose=0), max_epochs=1).fit(*data())
    assert "give it: SkorchCallback(..., probe=validation_loader)" in caplog.text
    caplog.clear()
    bus = SkorchCallback(charts, probe=torch.ones(2, 2), verbose=0)
    net_with(clone(bus), max_epochs=1).fit(*data())

    assert caplog.text == ""
