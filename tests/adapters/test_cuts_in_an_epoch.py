"""A run that is resumed between several cuts of one epoch records the rates and decisions of the unbroken run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDRegressor

from trainbus import Callback, Decision, Run, decision, hookimpl
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import partial_fit
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau

BATCHES, EPOCHS = 4, 3
X = np.random.default_rng(0).normal(size=(2 * BATCHES, 3)).astype("float32")
Y = X.sum(1)


class Cuts(Callback):
    """Cuts the rates when the batch loss has not improved, and at given steps."""

    at: tuple[int, ...] = ()
    patience: int = 0

    def plugin(self) -> object:
        return _Cutter(self)


class _Cutter:
    def __init__(self, settings: Cuts) -> None:
        self.settings, self.best, self.wait = settings, float("inf"), 0

    @hookimpl
    def on_batch_end(self, run: Run, step: int, metrics: Mapping[str, Any]) -> Decision | None:
        loss = float(metrics["loss"]) if "loss" in metrics else 1.0  # scikit-learn measures at the epoch's end
        self.wait = 0 if loss < self.best else self.wait + 1
        self.best = min(loss, self.best)
        waited = 0 < self.settings.patience <= self.wait
        if waited:
            self.wait = 0
        if step not in self.settings.at and not waited:
            return None
        return decision.scale_learning_rate(0.5, reason=f"cut after step {step}")

    def state_dict(self) -> list[float]:
        return [self.best, self.wait]

    def load_state_dict(self, saved: list[float]) -> None:
        self.best, self.wait = saved[0], int(saved[1])


def with_torch(callbacks: list[Any], resume: Path | None) -> Run:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.02}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    with Run(TorchSubject(model, optimizer), callbacks, resume=resume, verbose=0) as run:
        for _ in run.epochs(EPOCHS):
            for x, y in run.batches(list(zip(torch.from_numpy(X).split(2), torch.from_numpy(Y).split(2), strict=True))):
                loss = (model(x)[:, 0] - y).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss)
    return run


def with_sklearn(callbacks: list[Any], resume: Path | None) -> Run:
    model = SGDRegressor(learning_rate="constant", eta0=0.05, random_state=0)
    options: Any = {"scoring": "neg_mean_squared_error", "validation_data": (X, Y)}
    return partial_fit(
        model, X, Y, epochs=EPOCHS, batch_size=2, callbacks=callbacks, resume=resume, verbose=0, **options
    )


def with_keras(callbacks: list[Any], resume: Path | None) -> Run:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    bus = KerasCallback(callbacks, resume=resume)
    model.fit(X, Y, batch_size=2, epochs=EPOCHS, verbose=0, callbacks=[bus])
    return bus.run


def decisions(run: Run) -> list[tuple[int, str]]:
    return [
        (epoch, str(action))
        for epoch, each in run.state.decision_log
        for action in sorted(map(str, each))
        if "scale" in str(action).lower()
    ]


CUTTERS: list[Callable[[], list[Any]]] = [
    lambda: [Cuts(at=(5, 6, 7))],
    lambda: [Cuts(at=(2, 5, 7, 9))],
    lambda: [Cuts(patience=1)],
    lambda: [Cuts(at=(5, 8)), ReduceLROnPlateau(monitor="loss", mode="max", patience=1, factor=0.5)],
    lambda: [
        ReduceLROnPlateau(monitor="loss", mode="max", patience=1, factor=0.5),
        ReduceLROnPlateau(monitor="loss", mode="max", patience=1, factor=0.3, min_lr=0.01),
    ],
    lambda: [
        Cuts(at=(6,)),
        ReduceLROnPlateau(monitor="loss", mode="max", patience=1, factor=0.2, min_lr=0.015),
    ],
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("step", [6, *(pytest.param(step, marks=pytest.mark.exhaustive) for step in (5, 7, 8))])
@pytest.mark.parametrize("cutters", CUTTERS)
@pytest.mark.parametrize(("train", "suffix"), [(with_torch, ".pt"), (with_sklearn, ".skops"), (with_keras, ".keras")])
def test_a_resume_between_cuts_is_as_the_unbroken_run(
    train: Callable[[list[Any], Path | None], Run],
    suffix: str,
    cutters: Callable[[], list[Any]],
    step: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the history, the result, the decisions and the weights' rates at the end."""
    monkeypatch.chdir(tmp_path)
    saver = ModelCheckpoint(f"run/{{step}}{suffix}", save_freq="1 steps")
    unbroken = train([*cutters(), saver], None)

    resumed = train([*cutters(), saver], Path(f"run/{step}{suffix}"))

    assert resumed.resumed is not None
    assert resumed.history == unbroken.history
    assert resumed.result.learning_rates == unbroken.result.learning_rates
    assert resumed.subject.learning_rates() == unbroken.subject.learning_rates()
    assert decisions(resumed) == decisions(unbroken) != []
