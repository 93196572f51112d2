"""What a binding costs a batch, beside the framework's own early stopping, checkpoints and mean of the loss.

``python -m tests.benchmarks.bindings ignite skorch`` prints a table; without names, all frameworks that are installed.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .measuring import Timed, interleaved, table

EPOCHS, FEW, MANY, ROUNDS = 2, 100, 1100, 9

Trainings = dict[str, Callable[[int], object]]
"""Name to a training of ``EPOCHS`` epochs of that many batches: "bare", "its own" and "trainbus".

What a batch costs is the difference between many and few: beginning, epochs and saves cost the same in both.
"""


def _model() -> tuple[Any, Any]:
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Linear(4, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def _rules() -> list[Any]:
    from trainbus.plugins import EarlyStopping, ModelCheckpoint

    folder = Path(tempfile.mkdtemp(dir="."))
    best = ModelCheckpoint(folder / "best.pt", save_best_only=True)
    return [EarlyStopping(patience=99), best, ModelCheckpoint(folder / "last.pt")]


def ignite() -> Trainings:
    """Return trainings by PyTorch Ignite."""
    import torch
    from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.handlers import EarlyStopping, ModelCheckpoint
    from ignite.metrics import Average, Loss

    from trainbus.adapters.ignite import attach
    from trainbus.adapters.torch import TorchSubject

    loss = torch.nn.functional.mse_loss
    data = [(torch.randn(8, 4), torch.randn(8, 1))]

    def engines() -> tuple[Any, Any, Engine, Engine]:
        model, optimizer = _model()
        trainer = create_supervised_trainer(model, optimizer, loss)
        evaluator = create_supervised_evaluator(model, {"loss": Loss(loss)})
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(data))
        return model, optimizer, trainer, evaluator

    def bare(batches: int) -> None:
        engines()[2].run(data * batches, max_epochs=EPOCHS)

    def own(batches: int) -> None:
        model, optimizer, trainer, evaluator = engines()
        Average().attach(trainer, "loss")
        score: Any = lambda engine: -engine.state.metrics["loss"]  # noqa: E731
        evaluator.add_event_handler(Events.COMPLETED, EarlyStopping(99, score, trainer))
        with tempfile.TemporaryDirectory() as folder:
            best = ModelCheckpoint(folder, "best", score_function=score, n_saved=1)
            evaluator.add_event_handler(Events.COMPLETED, best, {"model": model, "optimizer": optimizer})
            last = ModelCheckpoint(folder, "last", n_saved=1, require_empty=False)
            trainer.add_event_handler(Events.EPOCH_COMPLETED, last, {"model": model, "optimizer": optimizer})
            trainer.run(data * batches, max_epochs=EPOCHS)

    def ours(batches: int) -> None:
        model, optimizer, trainer, evaluator = engines()
        attach(trainer, TorchSubject(model, optimizer), _rules(), evaluator, verbose=0)
        trainer.run(data * batches, max_epochs=EPOCHS)

    return {"bare": bare, "its own": own, "trainbus": ours}


def skorch() -> Trainings:
    """Return trainings by skorch, which records the mean of the loss itself."""
    import numpy as np
    import torch
    from skorch import NeuralNetRegressor
    from skorch.callbacks import Checkpoint, EarlyStopping

    from trainbus.adapters.skorch import SkorchCallback

    torch.set_num_threads(1)

    def fit(batches: int, *callbacks: Any) -> None:
        x = np.random.default_rng(0).normal(size=(5 * batches, 4)).astype("float32")
        module = {"module__in_features": 4, "module__out_features": 1}
        net = NeuralNetRegressor(
            torch.nn.Linear, batch_size=4, max_epochs=EPOCHS, verbose=0, callbacks=list(callbacks), **module
        )
        net.fit(x, x[:, :1])

    def own(batches: int) -> None:
        folder = tempfile.mkdtemp(dir=".")
        last = Checkpoint(monitor=None, dirname=folder, f_params="last.pt")
        fit(batches, EarlyStopping(patience=99), Checkpoint(dirname=folder), ("last", last))

    return {"bare": fit, "its own": own, "trainbus": lambda batches: fit(batches, SkorchCallback(_rules(), verbose=0))}


def lightning() -> Trainings:
    """Return trainings by PyTorch Lightning."""
    import lightning.pytorch as pl
    import torch

    from trainbus.adapters.lightning import LightningCallback

    def loader(batches: int) -> Any:
        return torch.utils.data.DataLoader(torch.randn(8 * batches, 4), 8)

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}

    class Regression(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.optimizer = _model()

        def training_step(self, batch: Any) -> Any:
            loss = self.layer(batch).pow(2).mean()
            self.log("loss", loss, on_step=False, on_epoch=True, batch_size=8)
            return loss

        def validation_step(self, batch: Any) -> None:
            self.log("val_loss", self.layer(batch).pow(2).mean(), batch_size=8)

        def configure_optimizers(self) -> Any:
            return self.optimizer

    def fit(batches: int, callbacks: list[Any]) -> None:
        saves = any(isinstance(each, pl.callbacks.Checkpoint) for each in callbacks)
        trainer = pl.Trainer(max_epochs=EPOCHS, callbacks=callbacks, enable_checkpointing=saves, **quiet)  # type: ignore[arg-type]
        trainer.fit(Regression(), loader(batches), loader(1))

    def own(batches: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            saver = pl.callbacks.ModelCheckpoint(folder, monitor="val_loss", save_last=True)
            fit(batches, [pl.callbacks.EarlyStopping("val_loss", patience=99), saver])

    return {
        "bare": partial(fit, callbacks=[]),
        "its own": own,
        "trainbus": lambda batches: fit(batches, [LightningCallback(_rules(), verbose=0)]),
    }


def transformers() -> Trainings:
    """Return trainings by the Trainer of Hugging Face Transformers."""
    import torch
    from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

    from trainbus.adapters.transformers import TransformersCallback

    class Regression(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.optimizer = _model()

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": torch.nn.functional.mse_loss(self.layer(x), labels)}

    rows = [{"x": torch.randn(4), "labels": torch.randn(1)}] * (MANY * 8)

    def train(batches: int, callbacks: list[Any], save: str = "no") -> None:
        model, quiet = Regression(), {"report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_strategy": "no"}
        arguments = TrainingArguments(
            tempfile.mkdtemp(dir="."),
            num_train_epochs=EPOCHS,
            eval_strategy="epoch",
            save_strategy=save,
            load_best_model_at_end=save != "no",
            **quiet,
        )
        trainer = Trainer(
            model, arguments, train_dataset=rows[: 8 * batches], eval_dataset=rows[:8], callbacks=callbacks
        )
        trainer.train()

    return {
        "bare": partial(train, callbacks=[]),
        "its own": lambda batches: train(batches, [EarlyStoppingCallback(99)], "epoch"),
        "trainbus": lambda batches: train(batches, [TransformersCallback(_rules(), verbose=0)]),
    }


ROUND = 10
"""Of the numbers of batches, boosting libraries train this part in rounds, which cost more."""


def _boosted(folder: str, suffix: str) -> list[Any]:
    from trainbus.plugins import EarlyStopping, ModelCheckpoint

    last = ModelCheckpoint(Path(folder) / f"last{suffix}", save_freq="100 epochs")
    return [EarlyStopping(patience=9999), last]


def xgboost() -> Trainings:
    """Return trainings by XGBoost that look at each round and save every hundredth."""
    import numpy as np
    import xgboost as xgb

    from trainbus.adapters.xgboost import XGBoostCallback

    x = np.random.default_rng(0).normal(size=(2000, 8))
    training = xgb.DMatrix(x[:1500], x[:1500].sum(1) > 0)
    held_out = xgb.DMatrix(x[1500:], x[1500:].sum(1) > 0)
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 3}

    def train(batches: int, *callbacks: Any) -> None:
        sets = [(training, "train"), (held_out, "val")]
        rounds = EPOCHS * batches // ROUND
        xgb.train(params, training, rounds, evals=sets, callbacks=callbacks, verbose_eval=False)

    def own(batches: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            stop = xgb.callback.EarlyStopping(9999)
            train(batches, stop, xgb.callback.TrainingCheckPoint(folder, interval=100))

    def ours(batches: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(batches, XGBoostCallback(_boosted(folder, ".ubj"), verbose=0))

    return {"bare": train, "its own": own, "trainbus": ours}


def lightgbm() -> Trainings:
    """Return trainings by LightGBM that look at each round and save every hundredth; it has no checkpoints itself."""
    import lightgbm as lgb
    import numpy as np

    from trainbus.adapters.lightgbm import LightGBMCallback

    x = np.random.default_rng(0).normal(size=(2000, 8))
    params = {"objective": "binary", "num_threads": 1, "num_leaves": 7, "verbosity": -1}

    def train(batches: int, *callbacks: Any) -> None:
        training = lgb.Dataset(x[:1500], x[:1500].sum(1) > 0)
        held_out = lgb.Dataset(x[1500:], x[1500:].sum(1) > 0, reference=training)
        lgb.train(params, training, EPOCHS * batches // ROUND, valid_sets=[held_out], callbacks=list(callbacks))

    def own(batches: int) -> None:
        with tempfile.TemporaryDirectory() as folder:

            def save(env: Any) -> None:
                if env.iteration % 100 == 0:
                    env.model.save_model(Path(folder) / f"{env.iteration}.txt")

            train(batches, lgb.early_stopping(9999, verbose=False), save)

    def ours(batches: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(batches, *LightGBMCallback(_boosted(folder, ".txt"), verbose=0))

    return {"bare": train, "its own": own, "trainbus": ours}


FRAMEWORKS: dict[str, Callable[[], Trainings]] = {
    "ignite": ignite,
    "lightgbm": lightgbm,
    "skorch": skorch,
    "lightning": lightning,
    "transformers": transformers,
    "xgboost": xgboost,
}
"""Name of a module to the function that makes its trainings."""
PARTS = {"lightgbm": ROUND, "xgboost": ROUND}
"""Name of a module to how many of the batches are a round."""


def measured(name: str) -> list[str]:
    """Return a row of the table: microseconds a batch, and what each list of callbacks adds."""
    trainings = FRAMEWORKS[name]()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        timed = {
            (key, batches): Timed(partial(each, batches), EPOCHS * (MANY - FEW))
            for key, each in trainings.items()
            for batches in (FEW, MANY)
        }
        found = interleaved(timed, ROUNDS)
        os.chdir("/")
    part = PARTS.get(name, 1) / 1000
    bare, own, ours = (
        (found[key, MANY].minimum - found[key, FEW].minimum) * part for key in ("bare", "its own", "trainbus")
    )
    return [name, f"{bare:.1f}", f"{own - bare:+.1f}", f"{ours - bare:+.1f}"]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    names = sys.argv[1:] or [each for each in FRAMEWORKS if find_spec(each)]
    print(table(["framework", "bare, us a batch", "its own", "trainbus"], map(measured, names)))
