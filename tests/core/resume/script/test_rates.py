"""Learning rates that a script changes between two runs."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run, SettingsError
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau

torch = pytest.importorskip("torch")
SGD, schedulers = torch.optim.SGD, torch.optim.lr_scheduler


def torch_subject(rate: Any, *, schedule: Callable[[Any], Any] | None = None, groups: int = 1) -> Any:
    """A training whose script sets this rate."""
    from trainbus.adapters.torch import TorchSubject  # noqa: PLC0415

    model = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(groups)))
    optimizer = SGD([{"params": each.parameters(), "lr": rate * (1 + n)} for n, each in enumerate(model)])
    return TorchSubject(model, optimizer, scheduler=schedule and schedule(optimizer))


def sklearn_subject(rate: float) -> Any:
    """A perceptron whose script sets this rate."""
    from sklearn.neural_network import MLPRegressor  # noqa: PLC0415

    from trainbus.adapters.sklearn import SklearnSubject  # noqa: PLC0415

    return SklearnSubject(MLPRegressor(solver="sgd", learning_rate_init=rate).partial_fit([[0.0]], [0.0]))


def keras_subject(rate: float) -> Any:
    """A line whose script sets this rate."""
    keras = pytest.importorskip("keras")
    from trainbus.adapters.keras import KerasSubject  # noqa: PLC0415

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return KerasSubject(model)


MAKERS: dict[str, Callable[[float], Any]] = {
    "plain": torch_subject,
    "a tensor": lambda rate: torch_subject(torch.tensor(rate)),
    "groups": lambda rate: torch_subject(rate, groups=3),
    "a schedule": lambda rate: torch_subject(rate, schedule=lambda each: schedulers.StepLR(each, 1, 0.1)),
    "a schedule from stored values": lambda rate: torch_subject(
        rate, schedule=lambda each: schedulers.LambdaLR(each, lambda epoch: 0.5**epoch)
    ),
    "scikit-learn": sklearn_subject,
    "Keras": keras_subject,
}


def train(subject: Any, epochs: int, **options: Any) -> dict[str, float]:
    """Train with one cut in the second epoch; return the rates at the end."""
    suffix = subject.suffixes(weights_only=False)[0]
    saver = ModelCheckpoint(f"runs/newest{suffix}")
    plateau = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_lr=0.0)
    with Run(subject, [plateau, saver], **options) as run:
        for _ in run.epochs(epochs):
            for scheduler in getattr(subject, "schedulers", {}).values():
                for optimizer in subject.optimizers.values():
                    optimizer.step()
                scheduler.step()
            run.log(loss=1.0)
    return {name: float(rate) for name, rate in subject.learning_rates().items()}


@pytest.mark.covering(1)
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("new", [0.01, 0.8])
def test_a_changed_rate_is_reported_or_used(kind: str, new: float, caplog: pytest.LogCaptureFixture) -> None:
    """The checkpoint's rate is used and one line says so, at each resume; the script's is used if the user says so."""
    make = MAKERS[kind]
    unbroken = train(make(0.1), 3)
    wanted = train(make(new), 3)
    train(make(0.1), 2)
    assert train(make(0.1), 3, resume="auto") == pytest.approx(unbroken)
    assert "script" not in caplog.text

    train(make(0.1), 1)
    for epochs in 2, 3:
        caplog.clear()
        ended = train(make(new), epochs, resume="auto")
        [line] = [each.getMessage() for each in caplog.records if "script" in each.getMessage()]
        assert f"from 0.1 to {new:g} has no effect; to use it, give resume_learning_rates='script'" in line
    assert ended == pytest.approx(unbroken)

    train(make(0.1), 2)
    caplog.clear()
    train(make(new), 2, resume="auto", resume_learning_rates="script")  # saves nothing
    assert train(make(new), 3, resume="auto", resume_learning_rates="script") == pytest.approx(wanted)
    assert "script" not in caplog.text


def test_a_rate_that_was_used_once_is_the_scripts_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    """After a resume with the script's rate, a later one finds it unchanged."""
    train(torch_subject(0.1), 1)
    train(torch_subject(0.01), 2, resume="auto", resume_learning_rates="script")
    caplog.set_level(logging.WARNING)
    caplog.clear()
    assert train(torch_subject(0.01), 3, resume="auto") == pytest.approx(train(torch_subject(0.01), 3))
    assert "script" not in caplog.text


def test_weights_alone_follow_the_same_choice() -> None:
    """A file of weights keeps the saved rates in its manifest."""

    def ended(rate: float, **options: Any) -> dict[str, float]:
        subject = torch_subject(rate)
        with Run(subject, ModelCheckpoint("runs/weights", save_weights_only=True), **options) as run:
            for _ in run.epochs(options.pop("epochs", 1)):
                run.log(loss=1.0)
        return dict(subject.learning_rates())

    ended(0.1)
    assert ended(0.01, resume="auto") == pytest.approx({"learning_rate": 0.1})
    assert Path("runs/weights.pt").exists()
    assert ended(0.01, resume="auto", resume_learning_rates="script") == pytest.approx({"learning_rate": 0.01})


@pytest.mark.parametrize("given", ["", "Script", "file", None, True])
def test_another_choice_is_refused(given: Any) -> None:
    """The error lists the two."""
    with pytest.raises(SettingsError, match="give 'checkpoint' or 'script'"):
        Run(resume_learning_rates=given)
