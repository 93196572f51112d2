"""The recorded learning rate is that of the epoch's first update, and a cut acts or is reported, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainbus import MissingCapability, Run, decision, hookimpl
from trainbus.adapters.keras import KerasCallback, KerasSubject
from trainbus.capabilities import HasLearningRate, missing
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .fits import X, Y, fit, line
from .own_optimizer import OwnOptimizer

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")

schedules: Any = keras.optimizers.schedules


class Sets(keras.callbacks.Callback):
    """A Keras callback that sets the rate in one of its hooks to a function of epoch and batch, unless that is None."""

    def __init__(self, hook: str, rate: Callable[[int, int], float | None]) -> None:
        super().__init__()
        self.epoch = 0
        self.rate = rate
        self.hook = hook

    def _set(self, hook: str, batch: int) -> None:
        rate = self.rate(self.epoch, batch) if hook == self.hook else None
        if rate is not None:
            self.model.optimizer.learning_rate = rate

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch
        self._set("epoch begin", 0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._set("batch begin", batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._set("batch end", batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._set("epoch end", 5)


def falling(epoch: int, batch: int) -> float:
    return 0.1 * 0.9 ** (5 * epoch + batch)


FIRST = [falling(epoch, 0) for epoch in range(3)]


@pytest.mark.covering(1)
@pytest.mark.parametrize("first", [False, True], ids=["after the bus", "before the bus"])
@pytest.mark.parametrize(
    ("hook", "rates"),
    [
        ("epoch begin", FIRST),
        ("batch begin", FIRST),
        ("batch end", [0.1, *FIRST[1:]]),
        ("epoch end", [0.1, *FIRST[1:]]),
    ],
)
@pytest.mark.parametrize("listened", [False, True])
def test_the_rate_of_an_epoch_is_that_of_its_first_update(
    hook: str, rates: list[float], first: bool, listened: bool
) -> None:
    """Wherever a Keras callback sets it, and in whatever order callbacks are listed."""
    bus = KerasCallback(
        [EarlyStopping(monitor="loss", patience=9)] if not listened else [ModelCheckpoint("{step}", save_freq=99)]
    )
    callbacks = [Sets(hook, falling), bus]
    fit(line(), callbacks if first else callbacks[::-1], epochs=3)

    assert bus.run.history["learning_rate"] == pytest.approx(rates, rel=1e-5)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.ExponentialDecay(0.1, 5, 0.5),
        schedules.CosineDecay(0.1, 15),
        schedules.PiecewiseConstantDecay([6, 12], [0.1, 0.05, 0.01]),
        schedules.InverseTimeDecay(0.1, 5, 0.5),
        schedules.PolynomialDecay(0.1, 15, 0.01),
        schedules.CosineDecayRestarts(0.1, 5),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_schedule_gives_the_rate_of_the_first_update(schedule: Any) -> None:
    """Not that of the update after the epoch's last one."""
    bus = KerasCallback()
    fit(line(keras.optimizers.SGD(schedule)), [bus], epochs=3)
    steps = [float(keras.ops.convert_to_numpy(schedule(step))) for step in (0, 5, 10)]

    assert bus.run.history["learning_rate"] == pytest.approx(steps, rel=1e-5)


def test_keras_logs_have_the_same_rates() -> None:
    """Those of the first update too, if a callback changes rates; Keras's own callback may have logged the last."""
    bus = KerasCallback(ReduceLROnPlateau(monitor="loss", mode="max", patience=2))
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    history = fit(line(), [scheduler, Sets("batch end", lambda epoch, batch: 0.1), bus], epochs=2).history

    assert bus.run.history["learning_rate"] == pytest.approx([0.05, 0.05])
    assert history["learning_rate"] == pytest.approx([0.05, 0.05])


@pytest.mark.parametrize("step", [1, 5, 9, *(pytest.param(step, marks=pytest.mark.exhaustive) for step in (3, 6, 14))])
def test_a_resume_in_mid_epoch_keeps_the_rate_of_the_first_update(step: int) -> None:
    """It is not the rate at the resume."""

    def train(epochs: int = 3, **options: Any) -> KerasCallback:
        optimizer = keras.optimizers.SGD(schedules.ExponentialDecay(0.1, 5, 0.5))
        bus = KerasCallback(ModelCheckpoint("run/{step}", save_freq=1), **options)
        fit(line(optimizer), [bus], epochs=epochs, shuffle=False)
        return bus

    unbroken = train()
    resumed = train(resume=Path(f"run/{step}.keras"))

    assert resumed.run.history["learning_rate"] == unbroken.run.history["learning_rate"]


# --- cuts that do not act


def plateau(**options: Any) -> ReduceLROnPlateau:
    """A callback that cuts at the end of every epoch but the first."""
    return ReduceLROnPlateau(**{"monitor": "loss", "mode": "max", "patience": 1, "min_delta": 1e9, **options})


SET_BACK: dict[str, Callable[[], Any]] = {
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1),
    "LearningRateScheduler of the epoch alone": lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    "LearningRateScheduler that falls": lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 * 0.1**epoch),
    "LearningRateScheduler that rises": lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 * 1.5**epoch),
    "Sets": lambda: Sets("epoch begin", lambda epoch, batch: 0.1),
    "Sets at each batch": lambda: Sets("batch begin", lambda epoch, batch: 0.1 * 0.999**batch),
    "Sets after each batch": lambda: Sets("batch end", lambda epoch, batch: 0.1),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("first", [False, True], ids=["after the bus", "before the bus"])
@pytest.mark.parametrize("name", SET_BACK)
def test_a_cut_that_another_keras_callback_undoes_is_reported_once(name: str, first: bool) -> None:
    """In one line that names a LearningRateScheduler, and what to do."""
    bus = KerasCallback(plateau())
    callbacks = [SET_BACK[name](), bus]
    fit(line(), callbacks if first else callbacks[::-1], epochs=5, shuffle=False)
    (failure,) = bus.run.failures

    assert failure.plugin == "ReduceLROnPlateau"
    known = "Keras's LearningRateScheduler sets it" if "Scheduler" in name else "another Keras callback or train_step"
    assert known in str(failure)


@pytest.mark.parametrize("epoch", [4, 5, 7])
@pytest.mark.parametrize(
    "make",
    [
        lambda at: keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 if epoch == at else rate),
        lambda at: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 * 0.9**epoch if epoch < 2 else 0.1),
        lambda at: Sets("epoch begin", lambda epoch, batch: 0.1 if epoch == at else None),
    ],
)
def test_a_cut_that_is_undone_many_epochs_later_is_reported(make: Callable[[int], Any], epoch: int) -> None:
    """A schedule is asked once for each epoch."""
    bus = KerasCallback(ReduceLROnPlateau(monitor="loss", mode="max", patience=1, min_delta=1e9, cooldown=99))
    fit(line(), [make(epoch), bus], epochs=9, shuffle=False)

    assert len(bus.run.failures) == 1


@pytest.mark.covering(1)
@pytest.mark.parametrize("first", [False, True], ids=["after the bus", "before the bus"])
@pytest.mark.parametrize("name", [*SET_BACK, "nothing", "warm-up", "decay"])
def test_a_resumed_fit_reports_an_undone_cut_as_the_unbroken_one(name: str, first: bool) -> None:
    """The same line, and nothing of a cut that acts."""

    def reported(**options: Any) -> list[str]:
        listed = [plateau(factor=0.5), ModelCheckpoint("run/{epoch}", save_freq="epoch")]
        bus = KerasCallback(listed, **options)
        callbacks = [{**SET_BACK, **KEPT}[name](), bus]
        fit(line(), callbacks if first else callbacks[::-1], epochs=4, shuffle=False)
        return [str(each) for each in bus.run.failures]

    unbroken = reported()
    assert reported(resume=Path("run/2.keras")) == unbroken
    assert len(unbroken) == (name in SET_BACK)


KEPT: dict[str, Callable[[], Any]] = {
    "nothing": keras.callbacks.Callback,
    "warm-up": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 1.9),
    "decay": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
    "hold": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate),
    "late": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 3 if epoch == 2 else rate),
    "Keras's plateau": lambda: keras.callbacks.ReduceLROnPlateau("loss", mode="max", patience=2),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_cut_that_a_schedule_builds_on_is_not_reported(name: str) -> None:
    """The schedule may raise the rate above the one before the cut."""
    bus = KerasCallback(plateau(factor=0.5))
    fit(line(), [KEPT[name](), bus], epochs=5, shuffle=False)

    assert bus.run.failures == []


def test_a_schedule_that_raises_an_error_when_it_is_asked_again_is_left_in_peace() -> None:
    """Nothing is known then, and nothing is said."""
    calls: list[int] = []

    def once(epoch: int, rate: float) -> float:
        if epoch in calls:
            raise RuntimeError("asked twice")
        calls.append(epoch)
        return 0.1

    bus = KerasCallback(plateau())
    fit(line(), [keras.callbacks.LearningRateScheduler(once), bus], epochs=3, shuffle=False)

    assert bus.run.failures == []


# --- a compiled optimizer that is not used


OWN: dict[str, Callable[[], Any]] = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "SGD with momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.1),
    "schedule": lambda: keras.optimizers.SGD(schedules.ExponentialDecay(0.1, 5, 0.5)),
}


@pytest.mark.parametrize(("own", "compiled"), [*((name, "adam") for name in OWN), ("SGD", "sgd"), ("Adam", "rmsprop")])
def test_a_train_step_with_optimizers_of_its_own_cannot_be_cut_which_is_said(own: str, compiled: str) -> None:
    """The rate of the compiled one would be cut to 1e-5 while the training goes on at 0.1."""
    model = OwnOptimizer(OWN[own]())
    model.compile(compiled, "mse")
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    weights = model.layer.get_weights()[0]
    bus = KerasCallback(plateau())
    fit(model, [bus], epochs=3)

    assert not np.allclose(model.layer.get_weights()[0], weights, atol=0.01)
    assert int(keras.ops.convert_to_numpy(model.own.iterations)) == 15
    assert [each.lost for each in bus.run.failures] == ["learning rates cannot be changed"]
    assert list(bus.run.history) == ["loss"]
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == rate


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a maker of compiled models whose weights are changed without the compiled optimizer."""

    def make(optimizer: Any, used_from: int = 99) -> Any:
        model = line(optimizer)
        inner = model.optimizer.apply
        made: list[int] = []

        def apply(grads: Any, variables: Any = None) -> Any:
            made.append(0)
            return inner(grads, variables) if len(made) > used_from else None

        monkeypatch.setattr(model.optimizer, "apply", apply)
        monkeypatch.setattr(
            model.optimizer, "stateless_apply", lambda state, grads, values: (values, state), raising=False
        )
        return model

    return make


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "SGD with momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.1),
    "gradients accumulated": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=9),
    "loss scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_that_makes_no_update_cannot_be_cut_which_is_said_in_the_first_epoch(
    name: str, own: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """No cut is claimed, and no rate is recorded that trains nothing."""
    bus = KerasCallback(plateau())
    history = fit(own(OPTIMIZERS[name]()), [bus], epochs=4, shuffle=False).history
    (failure,) = bus.run.failures

    assert (failure.plugin, failure.lost) == ("ReduceLROnPlateau", "learning rates cannot be changed")
    assert "train_step makes no update with the optimizer" in str(failure)
    assert "compile the model with the optimizers that it trains with" in str(failure)
    assert len([each for each in caplog.records if each.name == "trainbus"]) == 1
    assert not any(name.startswith("learning_rate") for name in [*history, *bus.run.history])
    assert bus.run.result.decisions == ()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_that_makes_updates_is_cut(name: str) -> None:
    """Also one that skips most batches."""
    bus = KerasCallback(plateau())
    fit(line(OPTIMIZERS[name]()), [bus], epochs=3, shuffle=False)

    assert bus.run.failures == []
    assert len(bus.run.result.decisions) == 2


def test_nothing_is_said_if_nothing_would_be_cut(own: Callable[..., Any]) -> None:
    """The rate is not recorded all the same."""
    bus = KerasCallback(EarlyStopping(monitor="loss", patience=9))
    fit(own(keras.optimizers.SGD(0.1)), [bus], epochs=2)

    assert (bus.run.failures, list(bus.run.history)) == ([], ["loss"])


def test_a_decision_of_another_plugin_is_refused_with_the_reason(own: Callable[..., Any]) -> None:
    """As for every model whose rate cannot be changed."""

    class Cuts:
        @hookimpl
        def on_epoch_end(self, epoch: int) -> Any:
            return decision.scale_learning_rate(0.5) if epoch else None

    with pytest.raises(MissingCapability, match="train_step makes no update with the optimizer"):
        fit(own(keras.optimizers.SGD(0.1)), [KerasCallback([Cuts()])], epochs=3)


def test_a_hand_written_loop_has_the_present_rate() -> None:
    """Without ``fit`` nothing says when an update is made."""
    model = line()
    with Run(KerasSubject(model)) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(2)):
                model.train_on_batch(X, Y)
            model.optimizer.learning_rate = 0.05

    np.testing.assert_allclose(run.history["learning_rate"], [0.1, 0.05], rtol=1e-6)
    assert missing(KerasSubject(model), HasLearningRate) is None
