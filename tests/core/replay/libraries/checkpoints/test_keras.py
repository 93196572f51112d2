"""Files of Keras's own ModelCheckpoint, on the same curves."""

from __future__ import annotations

import warnings
from pathlib import Path
from random import Random
from typing import Any

import keras
import pytest

from trainbus.replay import RunOutcome, replay
from trainbus.replay.libraries.checkpoints.keras import KerasModelCheckpoint

from ...random_curves import SEEDS, random_curve, random_options
from ...recorded import History, recording


class Model:
    """A model that writes the number of its epoch."""

    metrics: tuple[Any, ...] = ()
    epoch = -1

    def save(self, filepath: str, overwrite: bool) -> None:
        assert overwrite
        Path(filepath).write_text(str(self.epoch))


def in_keras(callback: Any, history: History, folder: Path) -> dict[str, int]:
    """Return the files with the epochs whose models they hold."""
    model = Model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about each epoch without the metric
        callback.set_model(model)
        callback.on_train_begin()
        for model.epoch, value in enumerate(history):
            callback.on_epoch_end(model.epoch, {"loss": 0.5} | ({} if value is None else {"val_loss": value}))
    return {path.name: int(path.read_text()) for path in folder.iterdir()}


def replayed(history: History, callback: KerasModelCheckpoint) -> RunOutcome:
    """Return the outcome of a run with this val_loss."""
    run = recording({"val_loss": history, "loss": [0.5] * len(history)})
    return replay([run], callback, by="keras").outcomes[0]


@pytest.mark.skipif(keras.__version__ != "3.15.1", reason="other versions may skip an epoch without the metric")
@pytest.mark.parametrize("seeds", SEEDS)
def test_the_files_of_keras_on_random_curves(seeds: range, tmp_path: Path) -> None:
    """The same files hold the same models, and the best one is the best by Keras's own comparison."""
    for seed in seeds:
        random = Random(seed)
        history = random_curve(random)
        choices: dict[str, list[Any]] = {"mode": ["min", "max"], "save_best_only": [True, True, False]}
        choices |= {"initial_value_threshold": [None, None, 0.8]}
        options = random_options(random, {**choices, "filepath": ["m.keras", "{epoch:03d}-{loss:.1f}.keras"]})
        folder = tmp_path / str(seed)
        folder.mkdir()
        own = {**options, "filepath": folder / options["filepath"]}
        files = in_keras(keras.callbacks.ModelCheckpoint(**own), history, folder)

        found = replayed(history, KerasModelCheckpoint(monitor="val_loss", **options))
        assert {each.path: each.epoch for each in found.files} == files, (seed, options)


def test_the_best_file_is_told() -> None:
    """With save_best_only it is the last one that was saved for its value."""
    found = replayed([3.0, 2.0, 2.5, 1.0, 1.5], KerasModelCheckpoint(filepath="{epoch}.keras", save_best_only=True))

    assert [(each.path, each.epoch, each.best) for each in found.files] == [
        ("1.keras", 0, False),
        ("2.keras", 1, False),
        ("4.keras", 3, True),
    ]
    assert found.as_data()["files"][-1] == {"path": "4.keras", "epoch": 3, "best": True}


def test_saves_between_batches_are_not_recorded() -> None:
    """An integer save_freq counts batches, of which a record has no metrics."""
    result = replay([recording([2.0, 1.0])], KerasModelCheckpoint(save_freq=100), by="keras")

    assert result.outcomes[0].files == ()
    assert "save_freq=100 saves inside epochs" in " ".join(result.notes)
