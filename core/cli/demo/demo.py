"""The command ``trainbus demo``: train on scanned digits with four callbacks."""

from __future__ import annotations

import os
import shlex
from importlib import import_module
from pathlib import Path
from typing import Final

from trainbus import Callback, Run, SettingsError
from trainbus.storage.file_kind import check_directory

from .data import digits

FRAMEWORKS: Final = ("sklearn", "torch", "keras", "lightning", "transformers", "jax", "xgboost", "lightgbm")
"""The frameworks that the demo can train with."""
LOSSES: Final = {"xgboost": "val_mlogloss", "lightgbm": "val_multi_logloss"}
"""How frameworks name the loss of the validation, if not val_loss; their models have no weights to draw."""


def demo(framework: str, out: str | Path, epochs: int, *, resume: bool = False) -> Run:
    """Train on the digits with four callbacks, and print the decisions and the paths of the files.

    Args:
        framework: The framework to train with, one of ``FRAMEWORKS``.
        out: The directory of the checkpoints and event files; created if it is missing.
        epochs: The maximum number of epochs.
        resume: Whether to resume the run in ``out``; if there is none, training starts from the beginning.

    Raises:
        MissingDependency: The framework is not installed.
        SettingsError: ``out`` is a file.
    """
    out = Path(out)
    try:
        check_directory(out)
    except OSError as error:
        raise SettingsError(f"--out {error}") from None
    data = digits()
    if framework == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")  # TensorFlow, the default of Keras, is the largest backend
    import_module(f"trainbus.adapters.{framework}")  # raises MissingDependency before anything is printed
    print(
        f"Training on {len(data.x):,} scanned digits with {framework}; {len(data.x_val):,} are held out for validation."
    )
    training = import_module(f"{__package__}.{framework}_training")
    run: Run = training.train(data, _callbacks(out, framework), epochs, "auto" if resume else None)
    print(f"\n{run.result}")
    print(f"\nWhat it decided, and why: trainbus explain {shlex.quote(str(out))}")
    print(
        f"Curves, histograms and graph (pip install tensorboard): tensorboard --logdir {shlex.quote(str(out / 'logs'))}"
    )
    return run


def _callbacks(out: Path, framework: str) -> list[Callback]:
    from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard  # noqa: PLC0415 - the core works without the built-in plugins

    loss = LOSSES.get(framework, "val_loss")
    return [
        TensorBoard(str(out / "logs"), histogram_freq=0 if framework in LOSSES else 5),
        ModelCheckpoint(str(out / "best"), monitor=loss, save_best_only=True, verbose="auto"),
        ReduceLROnPlateau(monitor=loss, factor=0.2, patience=2, min_lr=1e-4, verbose="auto"),
        EarlyStopping(monitor=loss, patience=4, restore_best_weights=True, verbose="auto"),
    ]
