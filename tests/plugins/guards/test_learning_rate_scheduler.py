"""LearningRateScheduler sets the rates that a schedule returns, as in Keras, and the cuts apply to them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from operator import mul
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from trainbus import MissingCapability, Run, SettingsError, callbacks_from, dumps, load
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import SklearnSubject
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

CUT = ReduceLROnPlateau(monitor="loss", patience=2, factor=0.1)


def halved(epoch: int) -> float:
    """A schedule that a module defines."""
    return 0.5**epoch


def run_on(subject: Any, *callbacks: Any, epochs: int = 4, **options: Any) -> Run:
    with Run(subject, callbacks, verbose=0, **options) as run:
        for _ in run.epochs(epochs):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
    return run


# --- as in Keras

SCHEDULES: dict[str, Callable[..., Any]] = {
    "of the epoch": lambda epoch: 0.1 / (1 + epoch),
    "of the rate": lambda epoch, lr: lr * 0.7,
    "with a warm-up": lambda epoch, lr: lr * 1.3 if epoch < 3 else lr * math.exp(-0.1),
    "steps": lambda epoch, lr: lr * 0.1 if epoch in (2, 4) else lr,
    "with a default": lambda epoch, lr, decay=0.3: lr * decay,
    "NumPy": lambda epoch, lr: np.float64(lr) * 0.9,
    "single precision": lambda epoch: np.float32(0.1) * np.float32(0.7),
    "restarts": lambda epoch: 0.1 * 0.5 ** (epoch % 3),
}


def fitted(*callbacks: Any, rate: float = 0.01) -> list[float]:
    """Return the rates with which a Keras model was trained."""
    x, y = np.zeros((4, 1)), np.zeros((4, 1))  # the loss is a constant
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse")
    rates: list[float] = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate.numpy()))
    )
    model.fit(x, y, epochs=7, verbose=0, callbacks=[note, *callbacks], batch_size=4)
    return rates


needs_torch_backend = pytest.mark.skipif(keras.backend.backend() != "torch", reason="`numpy()` of a variable")


@needs_torch_backend
@pytest.mark.parametrize("rate", [0.01, 0.001, 0.3])
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.covering(1)
def test_the_rates_are_those_of_keras_to_the_bit(name: str, rate: float) -> None:
    """Without cuts, the schedule gets and sets the same single-precision numbers."""
    theirs = fitted(keras.callbacks.LearningRateScheduler(SCHEDULES[name]), rate=rate)
    mine = fitted(KerasCallback([LearningRateScheduler(SCHEDULES[name])]), rate=rate)

    assert mine == theirs


@needs_torch_backend
@pytest.mark.parametrize("name", SCHEDULES)
def test_with_a_plateau_the_rates_are_those_of_the_schedule_times_the_cuts(name: str) -> None:
    """What the schedule is given and asks for is the same as without the plateau, in every epoch."""
    alone = fitted(keras.callbacks.LearningRateScheduler(SCHEDULES[name]))
    both = fitted(KerasCallback([LearningRateScheduler(SCHEDULES[name]), CUT]))

    # the rates are noted before the cut of the same epoch; the loss stalls from the 2nd epoch on
    assert both == pytest.approx(alone * np.array([1, 1, 1, 0.1, 0.1, 0.01, 0.01]), rel=1e-5)


@needs_torch_backend
def test_a_schedule_that_multiplies_is_cut_as_by_keras_s_own_pair() -> None:
    """There, Keras's schedule continues from the cut rate, which is the same."""
    schedule = SCHEDULES["of the rate"]
    options: dict[str, Any] = {"monitor": "loss", "patience": 2, "factor": 0.1}
    theirs = fitted(keras.callbacks.LearningRateScheduler(schedule), keras.callbacks.ReduceLROnPlateau(**options))
    mine = fitted(KerasCallback([LearningRateScheduler(schedule), ReduceLROnPlateau(**options)]))

    assert mine == pytest.approx(theirs, rel=1e-5)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6))
def test_the_rate_of_each_epoch_is_what_the_schedule_returns(rates: list[float]) -> None:
    """Every finite number of at least 0."""
    run = run_on(LineSubject(), LearningRateScheduler(lambda epoch: rates[epoch]), epochs=len(rates))

    assert run.history["learning_rate"] == rates
    assert run.failures == []


# --- several rates


def groups(*rates: float, **options: Any) -> tuple[TorchSubject, Any]:
    model = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in rates)
    named = [{"params": each.parameters(), "lr": rate} for each, rate in zip(model, rates, strict=True)]
    optimizer = torch.optim.SGD(named, lr=1.0)
    return TorchSubject(model, optimizer, **options), optimizer


NAMES = ["learning_rate/0", "learning_rate/1"]


def rates_of(run: Run) -> list[tuple[Any, ...]]:
    return list(zip(*(run.history[name] for name in NAMES), strict=True))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (lambda epoch: 0.5**epoch, [(1.0, 1.0), (0.5, 0.5), (0.25, 0.25)]),
        (lambda epoch, lr: lr / 2, [(0.2, 0.1), (0.1, 0.05), (0.05, 0.025)]),
        (lambda epoch: {NAMES[1]: epoch + 1}, [(0.4, 1.0), (0.4, 2.0), (0.4, 3.0)]),
        (lambda epoch: {NAMES[0]: 0, NAMES[1]: 0.1}, [(0.0, 0.1)] * 3),
        (lambda epoch: torch.tensor(0.25), [(0.25, 0.25)] * 3),
    ],
)
def test_a_number_sets_every_group_and_a_mapping_those_that_it_names(
    schedule: Callable[..., Any], rates: list[tuple[float, float]]
) -> None:
    """A schedule of the present rate gets that of each group."""
    subject, _ = groups(0.4, 0.2)

    assert rates_of(run_on(subject, LearningRateScheduler(schedule), epochs=3)) == rates


def test_each_group_keeps_its_own_cuts() -> None:
    """Of the group at its floor there was none."""
    subject, _ = groups(0.4, 0.04)
    plateau = ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5, min_lr=0.1)
    run = run_on(subject, LearningRateScheduler(lambda epoch: {NAMES[0]: 0.4, NAMES[1]: 0.04}), plateau)

    assert rates_of(run) == [(0.4, 0.04), (0.4, 0.04), (0.2, 0.04), (0.1, 0.04)]
    assert run.failures == []


# --- what a schedule may not return


@pytest.mark.parametrize(
    "returned",
    [None, math.nan, math.inf, -math.inf, -0.1, "0.1", True, [0.1], np.zeros(2), torch.zeros(2), {}, {"a": 1}],
)
def test_what_is_no_rate_is_an_error_that_names_the_epoch(returned: Any) -> None:
    """Before anything of the epoch is trained; the rate is not changed."""
    line = LineSubject(0.5)
    with pytest.raises(SettingsError, match=r"^LearningRateScheduler: the schedule (returned|named).* epoch=2"):
        run_on(line, LearningRateScheduler(lambda epoch: returned if epoch == 2 else 0.25))

    assert line.learning_rate == 0.25


def test_a_mapping_for_one_of_several_rates_is_refused() -> None:
    subject, _ = groups(0.4, 0.2)
    with pytest.raises(SettingsError, match=r"for one of the rates of epoch=0; .* let it take the epoch only"):
        run_on(subject, LearningRateScheduler(lambda epoch, lr: {NAMES[0]: lr}))


def test_an_unknown_rate_has_the_nearest_name() -> None:
    subject, _ = groups(0.4, 0.2)
    with pytest.raises(SettingsError, match=r"'learning_rate/O' for epoch=0, .* you mean 'learning_rate/0'.*rate/1"):
        run_on(subject, LearningRateScheduler(lambda epoch: {"learning_rate/O": 0.1}))


def constant(rate: float) -> Callable[[int], float]:
    return lambda epoch: rate


@pytest.mark.parametrize(
    "listed",
    [
        (lambda epoch: 0.1 * 0.9**epoch, halved),
        (halved, "math:sqrt"),
        (constant(0.5), constant(0.01)),
        (constant(0.5), constant(0.5)),
        (lambda epoch, lr: lr, lambda epoch: {"learning_rate": 0.5}),
        (halved, halved, constant(0.1)),
        (partial(mul, 0.5), partial(mul, 0.4)),
    ],
)
def test_two_schedules_of_the_same_rates_are_refused(listed: tuple[Any, ...]) -> None:
    """Whatever their functions are called; nothing is trained."""
    subject = LineSubject()
    callbacks = [LearningRateScheduler(each) for each in listed]
    both = r"LearningRateScheduler and LearningRateScheduler-2 both set learning_rate in epoch 1; remove one"
    with pytest.raises(SettingsError, match=both if listed[0] is not listed[1] else "is listed twice with the same"):
        run_on(subject, *callbacks)
    assert subject.learning_rates() == {"learning_rate": 0.5}


def test_two_schedules_of_other_rates_are_both_used() -> None:
    subject, _ = groups(0.4, 0.2)
    run = run_on(
        subject,
        LearningRateScheduler(lambda epoch: {"learning_rate/0": 0.3 / (epoch + 1)}),
        LearningRateScheduler(lambda epoch: {"learning_rate/1": 0.1}),
        epochs=2,
    )
    assert run.history["learning_rate/0"] == pytest.approx([0.3, 0.15])
    assert run.history["learning_rate/1"] == pytest.approx([0.1, 0.1])


def test_a_name_and_its_function_are_the_same_schedule() -> None:
    named = f"{__name__}:halved"
    with pytest.raises(SettingsError, match="listed twice with options of the same effect"):
        run_on(LineSubject(), LearningRateScheduler(halved), LearningRateScheduler(named))


def test_an_error_of_the_schedule_is_raised() -> None:
    """Also a TypeError, after which Keras calls the schedule again without the rate."""
    calls: list[Any] = []

    def schedule(epoch: int, lr: float = 0.0) -> Any:
        calls.append((epoch, lr))
        return "a" + 1  # type: ignore[operator]

    with pytest.raises(TypeError, match="concatenate"):
        run_on(LineSubject(), LearningRateScheduler(schedule))
    assert calls == [(0, 0.5)]


@pytest.mark.parametrize(
    "schedule",
    [0.1, None, lambda: 0.1, lambda a, b, c: 0.1, lambda *, epoch: 0.1, LineSubject, "halved", "a b:c", "a:", ""],
)
def test_what_is_no_schedule_is_refused(schedule: Any) -> None:
    with pytest.raises(SettingsError, match=r"LearningRateScheduler: schedule=.*give schedule\(epoch\), schedule"):
        LearningRateScheduler(schedule)


def test_options_of_other_libraries_name_the_right_one() -> None:
    with pytest.raises(SettingsError, match=r"lr_lambda: unknown option; write schedule"):
        LearningRateScheduler(lr_lambda=halved)  # type: ignore[call-arg]


# --- as data


def module_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "decays.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "decays", raising=False)


def test_a_settings_file_names_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the file imports nothing; the run does."""
    module_of(tmp_path, monkeypatch, "def tenth(epoch, lr):\n    return lr / 10\n")
    Path("a.toml").write_text('[[callbacks]]\ncallback = "LearningRateScheduler"\nschedule = "decays:tenth"\n')
    (read,) = load("a.toml")
    assert "decays" not in sys.modules
    run = run_on(LineSubject(1.0), "a.toml", epochs=3)

    assert run.history["learning_rate"] == pytest.approx([0.1, 0.01, 0.001])
    assert dumps([read]) == Path("a.toml").read_text()
    assert callbacks_from([read.settings()]) == [read]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("decays:tenht", "'decays' has no 'tenht'; did you mean 'tenth'?"),
        ("decays:Tenths.tenth", "'decays' has no 'Tenths.tenth'"),
        ("decays:number", "it names 3"),
        ("decays:none", r"it names <function none"),
        ("decay.s:tenth", "'decay.s' cannot be imported: ModuleNotFoundError"),
        ("broken:tenth", "'broken' cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_name_without_a_function_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    module_of(tmp_path, monkeypatch, "number = 3\ndef tenth(epoch):\n    return 0.1\ndef none():\n    return 0.1\n")
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(SettingsError) as raised:
        Run(LineSubject(), [LearningRateScheduler(name)])

    assert f"LearningRateScheduler: schedule={name!r}: " in str(raised.value)
    assert why.removeprefix("r") in str(raised.value)


def test_a_function_of_a_module_is_written_by_its_name() -> None:
    """The file makes a callback with the same settings."""
    assert dumps([LearningRateScheduler(math.sqrt)]).splitlines()[-1] == 'schedule = "math:sqrt"'
    assert LearningRateScheduler(math.sqrt).settings() == LearningRateScheduler("math:sqrt").settings()


class Decay:
    """A schedule that is an object."""

    def __call__(self, epoch: int) -> float:
        return 0.5**epoch

    def of(self, epoch: int) -> float:
        return 0.5**epoch


@pytest.mark.parametrize("schedule", [lambda epoch: 0.1, Decay(), Decay().of], ids=["lambda", "object", "method"])
def test_what_no_module_defines_works_in_a_run_and_is_refused_as_data(schedule: Any) -> None:
    callback = LearningRateScheduler(schedule)
    assert run_on(LineSubject(), callback, epochs=2).failures == []
    with pytest.raises(SettingsError, match=r"only a function that a module defines has a name to import it by"):
        dumps([callback])


# --- on every framework


def test_an_estimator_is_trained_with_the_rates() -> None:
    """Of an estimator that reads its rate at each partial_fit."""
    x, y = np.array([[0.0], [1.0]] * 4), np.array([0, 1] * 4)
    for estimator in (SGDClassifier(learning_rate="constant", eta0=0.1), MLPClassifier(learning_rate_init=0.1)):
        subject = SklearnSubject(estimator)
        with Run(subject, [LearningRateScheduler(halved), CUT], verbose=0) as run:
            for _ in run.epochs(5):
                estimator.partial_fit(x, y, classes=[0, 1])
                run.log(loss=1.0)
        assert run.history["learning_rate"] == pytest.approx([1.0, 0.5, 0.25, 0.0125, 0.00625])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: SklearnSubject(SGDClassifier()), "takes its steps from alpha"),
        (lambda: None, "the run has no subject"),
        (lambda: TorchSubject(torch.nn.Linear(1, 1)), "no optimizer was given"),
        (lambda: TorchSubject(module := torch.nn.Linear(1, 1), torch.optim.Rprop(module.parameters())), "Rprop has no"),
        (lambda: SklearnSubject(MiniBatchKMeans()), "moves each centre"),
    ],
)
def test_a_subject_without_a_rate_to_set_is_refused_before_training(make: Any, why: str) -> None:
    with pytest.raises((MissingCapability, SettingsError), match=why):
        Run(make(), [LearningRateScheduler(halved)])


def test_a_model_that_trains_with_other_optimizers_is_reported_once() -> None:
    """The rate of the compiled one has no effect, so it is not set."""
    other = keras.optimizers.SGD(0.1)

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def train_step(self, data: Any) -> Any:
            x, y = data
            loss = keras.ops.mean((self(x) - y) ** 2)
            self.zero_grad()
            loss.backward()
            weights = self.trainable_weights
            with torch.no_grad():
                other.apply([each.value.grad for each in weights], weights)
            return {"loss": loss}

    model, binding = Own(), KerasCallback([LearningRateScheduler(lambda epoch, lr: lr / 2)])
    model.compile(keras.optimizers.SGD(0.5))
    model.fit(np.zeros((4, 1)), np.zeros((4, 1)), epochs=4, verbose=0, callbacks=[binding])

    (failure,) = binding.run.failures
    assert failure.plugin == "LearningRateScheduler"
    assert failure.lost == "learning rates cannot be changed"


STEPS: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
    "LambdaLR": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch),
    "CosineAnnealingLR": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_scheduler_of_torch_beside_it_is_reported_once(name: str) -> None:
    """The schedule of the callback wins at the beginning of each epoch."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = STEPS[name](optimizer)
    with Run(TorchSubject(model, optimizer, scheduler=scheduler), [LearningRateScheduler(halved)], verbose=0) as run:
        for _ in run.epochs(5):
            for _ in run.batches(range(2)):
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
                run.log(loss=1.0)
            scheduler.step()

    assert run.history["learning_rate"] == [0.5**epoch for epoch in range(5)]
    (failure,) = run.failures
    assert failure.plugin == "LearningRateScheduler"
    assert "something else has changed it to" in str(failure)
    assert "let only one of LearningRateScheduler and a scheduler, another callback or the loop set it" in str(failure)


# --- and a resume


@pytest.mark.covering(1)
@pytest.mark.parametrize("end_at", [1, 3, 4, 6, 7, 9])
@pytest.mark.parametrize("schedule", [halved, lambda epoch, lr: lr * 0.9], ids=["epoch", "rate"])
def test_a_resumed_run_has_the_same_rates(schedule: Any, end_at: int) -> None:
    """Also after a cut, and in the middle of an epoch."""

    def train(resume: Any = None, last: int = 99) -> Run:
        saver = ModelCheckpoint("run/{step}", save_freq=last, background=False)
        callbacks = [LearningRateScheduler(schedule), CUT, saver]
        with Run(LineSubject(), callbacks, resume=resume, verbose=0) as run:
            for _ in run.epochs(6):
                for _ in run.batches(range(2)):
                    run.log(loss=1.0)
                    if run.step >= last:
                        return run
        return run

    unbroken = train()
    train(last=end_at)
    resumed = train(f"run/{end_at}.npz")

    assert resumed.history == unbroken.history
    assert resumed.failures == unbroken.failures == []


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_line_of_an_epoch_has_the_rate_and_what_the_schedule_asks_for(
    verbose: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with Run(LineSubject(), [LearningRateScheduler(halved, verbose=verbose)]) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)

    lines = [line for line in capfd.readouterr().out.splitlines() if "setting" in line]
    assert lines == [
        "Epoch 1: LearningRateScheduler setting learning rate to 1: the schedule asks for 1",
        "Epoch 2: LearningRateScheduler setting learning rate to 0.5: the schedule asks for 0.5",
    ]
