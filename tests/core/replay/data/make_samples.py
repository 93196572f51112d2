"""Create the samples next to this file with the real libraries; each is created only if its library is installed.

    python make_samples.py DIRECTORY [keras] [lightning] [transformers]

Next to each sample, NAME.json contains what the library itself reported for every epoch.
"""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

Epochs = list[dict[str, float]]


def keras(place: Path) -> Epochs:
    """TensorBoard (with TensorFlow only), CSVLogger and the history of one ``fit``."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.random.default_rng(0).random((32, 3), np.float32)
    data = (x, x.sum(1))
    callbacks = [keras.callbacks.TensorBoard(place / "keras", update_freq=2, histogram_freq=2, write_graph=False)]
    callbacks += [keras.callbacks.CSVLogger(place / "keras.csv")]
    history = model.fit(*data, validation_data=data, epochs=4, batch_size=8, verbose=0, callbacks=callbacks).history
    (place / "keras_history.json").write_text(json.dumps(history))
    return [dict(zip(history, values, strict=True)) for values in zip(*history.values(), strict=True)]


def lightning(place: Path) -> Epochs:
    """TensorBoardLogger and CSVLogger of one ``fit``, with batch metrics and learning rates."""
    import torch
    from lightning import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback, LearningRateMonitor
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    said: Epochs = []

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch: Any) -> Any:
            loss = self.layer(batch).square().mean()
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: Any) -> None:
            self.log("val_loss", self.layer(batch).square().mean())
            self.log("val/spread", self.layer(batch).std())

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]

    class Listener(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            names = {"train_loss_epoch": "loss", "val_loss": "val_loss", "val/spread": "val_spread"}
            metrics = {ours: float(trainer.callback_metrics[theirs]) for theirs, ours in names.items()}
            said.append({**metrics, "learning_rate": 0.1 * 0.5**trainer.current_epoch})

    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(torch.rand(32, 3), batch_size=4)
    Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=[TensorBoardLogger(place, "lightning"), CSVLogger(place, "lightning_csv")],
        callbacks=[LearningRateMonitor(), Listener()],
        log_every_n_steps=3,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(Model(), loader, loader)
    return said


def transformers(place: Path) -> Epochs:
    """The trainer's state in each checkpoint, and its event files."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    said: Epochs = []

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            out = self.layer(x)[:, 0]
            return {"loss": (out - labels).square().mean(), "logits": out}

    class Listener(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
            said.append({"val_loss": metrics["eval_loss"]})

    torch.manual_seed(0)
    data = [{"x": row, "labels": row.sum()} for row in torch.rand(32, 3)]
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(place / "transformers" / "runs")
    arguments = TrainingArguments(
        output_dir=str(place / "transformers"),
        num_train_epochs=4,
        per_device_train_batch_size=8,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=3,
        report_to=["tensorboard"],
        disable_tqdm=True,
        use_cpu=True,
    )
    Trainer(Model(), arguments, train_dataset=data, eval_dataset=data, callbacks=[Listener()]).train()
    for file in (place / "transformers").glob("checkpoint-*/*"):
        if file.name != "trainer_state.json":
            file.unlink()
    return said


def main(place: Path, *names: str) -> None:
    """Make the samples of some libraries, or of all."""
    place.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for make in (keras, lightning, transformers):
        if make.__name__ in names or not names:
            epochs = make(place)
            (place / f"{make.__name__}.json").write_text(json.dumps({"epochs": epochs}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
