"""The message about a metric that a framework has not logged: what to write there, and no name that does not exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from trainbus import MissingMetric
from trainbus.plugins import EarlyStopping

X = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
Y = X.sum(1)


def keras(rule: Any, *, validates: bool) -> None:
    library = pytest.importorskip("keras")
    from trainbus.adapters.keras import KerasCallback  # noqa: PLC0415

    model = library.Sequential([library.Input((2,)), library.layers.Dense(1)])
    model.compile("sgd", "mse")
    more = {"validation_data": (X, Y)} if validates else {}
    model.fit(X, Y, callbacks=[KerasCallback(rule, verbose=0)], verbose=0, **more)


def lightning(rule: Any, *, validates: bool) -> None:
    pl = pytest.importorskip("lightning.pytorch")
    from trainbus.adapters.lightning import LightningCallback  # noqa: PLC0415

    class Module(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any) -> Any:
            loss = self.layer(batch).pow(2).mean()
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch: Any) -> None:
            self.log("val/loss", self.layer(batch).pow(2).mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"), False)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, callbacks=[LightningCallback(rule, verbose=0)], **quiet)
    trainer.fit(Module(), torch.from_numpy(X), torch.from_numpy(X) if validates else None)


def transformers(rule: Any, *, validates: bool) -> None:
    pytest.importorskip("transformers")
    from tests.adapters.transformers.trainers import trained  # noqa: PLC0415

    trained([rule], eval_strategy="epoch" if validates else "no", logging_strategy="steps")


def ignite(rule: Any, *, validates: bool) -> None:
    engine = pytest.importorskip("ignite.engine")
    from trainbus.adapters.ignite import attach  # noqa: PLC0415

    trainer, evaluator = engine.Engine(lambda *_: {"train_loss": 1.0}), engine.Engine(lambda *_: None)
    pytest.importorskip("ignite.metrics").Average(output_transform=lambda _: 1.0).attach(evaluator, "loss")
    attach(trainer, None, rule, evaluator, verbose=0)
    if validates:
        trainer.add_event_handler(engine.Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run([0, 1], max_epochs=2)


def skorch(rule: Any, *, validates: bool) -> None:
    library = pytest.importorskip("skorch")
    from trainbus.adapters.skorch import SkorchCallback  # noqa: PLC0415

    more: dict[str, Any] = {} if validates else {"train_split": None}
    bus = SkorchCallback(rule, verbose=0)
    net = library.NeuralNetRegressor(
        torch.nn.Linear, module__in_features=2, module__out_features=1, callbacks=[bus], **more
    )
    net.fit(X, Y[:, None])


def xgboost(rule: Any, *, validates: bool) -> None:
    library = pytest.importorskip("xgboost")
    from trainbus.adapters.xgboost import XGBoostCallback  # noqa: PLC0415

    data = library.DMatrix(X, Y)
    sets = [(library.DMatrix(X, Y), "val")] if validates else [(data, "train")]
    library.train({}, data, 2, evals=sets, verbose_eval=False, callbacks=[XGBoostCallback(rule, verbose=0)])


def lightgbm(rule: Any, *, validates: bool) -> None:
    library = pytest.importorskip("lightgbm")
    from trainbus.adapters.lightgbm import LightGBMCallback  # noqa: PLC0415

    data = library.Dataset(X, Y)
    sets = [library.Dataset(X, Y, reference=data)] if validates else [data]
    parameters = {"verbosity": -1, "metric": "rmse", "min_data_in_leaf": 2}
    library.train(parameters, data, 2, valid_sets=sets, callbacks=[*LightGBMCallback(rule, verbose=0)])


TRAININGS: dict[Callable[..., None], tuple[str, str]] = {
    keras: ("", "validation_data"),
    lightning: ("self.log('loss', value)", "give the LightningModule a validation_step"),
    transformers: ("logging_strategy='epoch'", "eval_strategy='epoch'"),
    ignite: ("return it by name from the process function", ""),
    skorch: ("", "leave train_split of the net as it is"),
    xgboost: ("write it into eval_metric", "give xgboost.train evals="),
    lightgbm: ("write it into metric", "give lightgbm.train valid_sets="),
}
"""Trainings to what a user writes to log the training loss, and to validate; empty if nothing is missing there."""


def message_of(train: Callable[..., None], monitor: str, *, validates: bool) -> str:
    torch.manual_seed(0)
    with pytest.raises(MissingMetric) as caught:
        train(EarlyStopping(monitor=monitor, mode="min"), validates=validates)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
@pytest.mark.parametrize("train", [each for each, (_, advice) in TRAININGS.items() if advice])
def test_without_a_validation_the_message_says_how_to_validate(
    train: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    message = message_of(train, "val_loss", validates=False)
    assert TRAININGS[train][1] in message
    assert "did you mean" not in message


@pytest.mark.parametrize("train", [each for each, (advice, _) in TRAININGS.items() if advice])
def test_without_the_training_loss_the_message_says_how_to_log_it(
    train: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Also if the nearest name is that of the validation; each name that it suggests is logged."""
    monkeypatch.chdir(tmp_path)
    message = message_of(train, "loss", validates=True)
    meant, logged = re.search(r"did you mean '([^']+)'", message), message.rpartition("logged: ")[2].split(", ")
    assert TRAININGS[train][0] in message or (meant and not meant[1].startswith("val"))
    assert meant is None or meant[1] in logged
