"""How other libraries save, each as its own training loop would let it: for the table of kills, not for the suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .save_progress import SaveProgress
from .subjects import Kind

__all__ = ["PEERS", "Peer"]


class Peer(NamedTuple):
    """One way to save over one path."""

    kind: str
    """Kind of the saved file, a name of ``KINDS``."""
    name: str
    """The file's name."""
    save: Callable[[Kind, Path, range, SaveProgress], object]
    """Save each number to the path, and report each save right before and right after it."""


def keras_checkpoint(kind: Kind, path: Path, numbers: range, progress: SaveProgress) -> None:
    """Keras's ModelCheckpoint(save_best_only=True): every epoch is better than the one before."""
    import keras

    weights = path.name.endswith(".weights.h5")
    saver = keras.callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True, save_weights_only=weights)
    saver.set_model(kind.subject.model)
    for number in numbers:
        kind.carry(number)
        progress.begin(number)
        saver.on_epoch_end(number, {"loss": -number})
        progress.end(number)


def skorch_checkpoint(kind: Kind, path: Path, numbers: range, progress: SaveProgress) -> None:
    """The Checkpoint of skorch, parameters only."""
    from skorch import NeuralNet
    from skorch.callbacks import Checkpoint
    from torch.nn import MSELoss

    net = NeuralNet(kind.subject.model, MSELoss).initialize()
    net.history.new_epoch()
    saver = Checkpoint(monitor=None, f_params=path, f_optimizer=None, f_criterion=None, f_history=None).initialize()
    for number in numbers:
        kind.carry(number)
        progress.begin(number)
        saver.on_epoch_end(net)
        progress.end(number)


def lightning_checkpoint(kind: Kind, path: Path, numbers: range, progress: SaveProgress) -> None:
    """Lightning's ModelCheckpoint in a fit whose every epoch has one batch."""
    import logging
    import warnings

    import lightning
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Saver(ModelCheckpoint):
        def _save_checkpoint(self, trainer: Any, filepath: str) -> None:
            number = numbers[trainer.current_epoch]
            progress.begin(number)
            super()._save_checkpoint(trainer, filepath)
            progress.end(number)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = kind.subject.model
            self.automatic_optimization = False

        def on_train_epoch_start(self) -> None:
            kind.carry(numbers[self.current_epoch])

        def training_step(self, *_: Any) -> None:
            self.optimizers().step()  # without gradients; Lightning saves again only after a step

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters())

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    saver = Saver(path.parent, path.stem, save_weights_only=True, enable_version_counter=False)
    trainer = lightning.Trainer(
        accelerator="cpu",
        callbacks=[saver],
        max_epochs=len(numbers),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=path.parent,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.zeros(1, 1)))


def ignite_checkpoint(kept: int) -> Callable[[Kind, Path, range, SaveProgress], None]:
    """Ignite's Checkpoint onto its DiskSaver, both with their defaults."""

    def save(kind: Kind, path: Path, numbers: range, progress: SaveProgress) -> None:
        from ignite.engine import Engine, Events
        from ignite.handlers import Checkpoint, DiskSaver

        engine = Engine(lambda *_: None)
        engine.state.epoch = engine.state.iteration = 0
        pattern = "best.pt" if kept == 1 else "best-{global_step}.pt"
        saver = Checkpoint(
            {"model": kind.subject.model},
            DiskSaver(path.parent, require_empty=False),
            n_saved=kept,
            filename_pattern=pattern,
            global_step_transform=lambda engine, event: engine.state.epoch,
        )
        engine.last_event_name = Events.EPOCH_COMPLETED
        for number in numbers:
            engine.state.epoch = number
            kind.carry(number)
            progress.begin(number)
            saver(engine)
            progress.end(number)

    return save


PEERS: dict[str, Peer] = {
    "Keras ModelCheckpoint": Peer("keras", "best.keras", keras_checkpoint),
    "Keras ModelCheckpoint, weights": Peer("weights.h5", "best.weights.h5", keras_checkpoint),
    "skorch Checkpoint": Peer("torch", "best.pt", skorch_checkpoint),
    "Lightning ModelCheckpoint": Peer("torch", "best.ckpt", lightning_checkpoint),
    "Ignite Checkpoint(n_saved=1)": Peer("torch", "best.pt", ignite_checkpoint(1)),
    "Ignite Checkpoint(n_saved=2)": Peer("torch", "best-*.pt", ignite_checkpoint(2)),
}
"""How each library saves; if the file's name is a pattern, the newest file counts."""
