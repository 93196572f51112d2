"""The command ``trainbus demo``: train on scanned digits with four callbacks."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from trainbus import Callback, MissingDependency, Run, SettingsError
from trainbus.storage.file_kind import check_directory

Framework = Literal["sklearn", "torch", "keras"]


class Digits(NamedTuple):
    """Images as rows of 64 pixels from 0 to 1, and their digits; a fifth of them is held out for validation."""

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    x_val: np.ndarray[Any, Any]
    y_val: np.ndarray[Any, Any]


def digits() -> Digits:
    """Return the 1,797 scanned digits that scikit-learn ships.

    Raises:
        MissingDependency: Scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - only the demo needs it
        from sklearn.model_selection import train_test_split  # noqa: PLC0415
    except ImportError:
        raise MissingDependency("the demo needs the data of scikit-learn: pip install 'trainbus[sklearn]'") from None
    images, labels = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(
        images.astype("float32") / 16, labels, test_size=0.2, random_state=0, stratify=labels
    )
    return Digits(x, y, x_val, y_val)


def demo(framework: Framework, out: str | Path, epochs: int, *, resume: bool = False) -> Run:
    """Train on the digits with four callbacks, and print the decisions and the paths of the files.

    Args:
        framework: The framework to train with.
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
    trainers = {"sklearn": _train_sklearn, "torch": _train_torch, "keras": _train_keras}
    data = digits()
    if framework == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")  # TensorFlow, the default of Keras, is the largest backend
    import_module(f"trainbus.adapters.{framework}")  # raises MissingDependency before anything is printed
    print(
        f"Training on {len(data.x):,} scanned digits with {framework}; {len(data.x_val):,} are held out for validation."
    )
    run = trainers[framework](data, _callbacks(out), epochs, "auto" if resume else None)
    print(f"\n{run.result}")
    print(f"\nWhat it decided, and why: trainbus explain {shlex.quote(str(out))}")
    print(
        f"Curves, histograms and graph (pip install tensorboard): tensorboard --logdir {shlex.quote(str(out / 'logs'))}"
    )
    return run


def _callbacks(out: Path) -> list[Callback]:
    from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard  # noqa: PLC0415 - the core works without the built-in plugins

    return [
        TensorBoard(str(out / "logs"), histogram_freq=5),
        ModelCheckpoint(str(out / "best"), save_best_only=True, verbose="auto"),
        ReduceLROnPlateau(factor=0.2, patience=2, min_lr=1e-4, verbose="auto"),
        EarlyStopping(patience=4, restore_best_weights=True, verbose="auto"),
    ]


def _train_sklearn(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    from trainbus.adapters.sklearn import partial_fit  # noqa: PLC0415

    model = MLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.01, random_state=0)
    return partial_fit(
        model,
        data.x,
        data.y,
        batch_size=32,
        epochs=epochs,
        validation_data=(data.x_val, data.y_val),
        scoring="accuracy",
        callbacks=callbacks,
        random_state=0,
        resume=resume,
    )


def _train_torch(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    import torch  # noqa: PLC0415

    from trainbus.adapters.torch import TorchSubject  # noqa: PLC0415

    torch.manual_seed(0)
    x, y, x_val, y_val = (torch.from_numpy(array) for array in data)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    loss_of = torch.nn.functional.cross_entropy
    with Run(TorchSubject(model, optimizer, probe=x_val), callbacks, resume=resume) as run:
        for _ in run.epochs(epochs):
            for images, labels in run.batches(loader):
                loss = loss_of(model(images), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                run.log(loss=loss, count=len(images))
            with run.validation(), torch.no_grad():
                scores = model(x_val)
                run.log(loss=loss_of(scores, y_val), accuracy=(scores.argmax(1) == y_val).float().mean())
    return run


def _train_keras(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    import keras  # noqa: PLC0415

    from trainbus.adapters.keras import KerasCallback  # noqa: PLC0415

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")], name="digits"
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    callback = KerasCallback(callbacks, resume=resume)
    model.fit(
        data.x,
        data.y,
        batch_size=32,
        validation_data=(data.x_val, data.y_val),
        epochs=epochs,
        callbacks=[callback],
        verbose=1 if sys.stdout.isatty() else 2,  # in a log file, a progress bar would fill a thousand lines
    )
    return callback.run
