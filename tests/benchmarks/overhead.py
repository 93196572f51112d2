"""The cost of monitoring a complete training: ``python -m tests.benchmarks.overhead [rounds]``.

The demo's digits and models, for each framework: the loop as it is written without trainbus, the same loop inside a
run without callbacks, with the three callbacks that decide, and with all four. Nothing stops early, so all of them
train equally long. For PyTorch, one more loop shows what part of this the files cost: it writes its best state itself,
with ``torch.save``, a digest and the syncs that let it survive a power cut, and keeps a copy in memory. A framework or
an adapter that is not installed is left out.
"""

from __future__ import annotations

import copy
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from trainbus import Callback, Run
from trainbus.cli.demo import Digits, digits
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard

from .measuring import Spread, Timed, interleaved, table, versions

EPOCHS = 10
BATCH_SIZE = 32

Train = Callable[..., object]
"""Train for ``EPOCHS`` epochs with a list of callbacks: without a run if it is None."""


def main(rounds: int = 9) -> None:
    """Measure, and print the table."""
    data = digits()
    timed: dict[tuple[str, str], Timed] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("scikit-learn", sklearn), ("PyTorch", torch), ("Keras", keras)):
            try:
                train = make(data)
            except ImportError as error:
                print(f"{name} is left out: {error}\n")
                continue
            if name == "PyTorch":
                by_hand = partial(train, None, Path(folder) / "by-hand.pt")
                by_hand()
                timed[name, "saves by hand"] = Timed(by_hand, EPOCHS * 1000)
            for kind, callbacks in _kinds(Path(folder)).items():
                go = partial(_go, train, callbacks)
                go()
                timed[name, kind] = Timed(go, EPOCHS * 1000)  # microseconds an epoch
        results = interleaved(timed, rounds)
    batches = -(-len(data.x) // BATCH_SIZE)
    print(f"{versions('trainbus', 'scikit-learn', 'torch', 'keras', 'tensorboardX')}; {rounds} rounds\n")
    print(f"{EPOCHS} epochs of {batches} batches and a validation; microseconds an epoch, median (minimum):\n")
    rows = [[name, kind, each, _more(each, results[name, "bare loop"])] for (name, kind), each in results.items()]
    print(table(["", "", "an epoch", "over the bare loop"], rows))


def _go(train: Train, callbacks: Callable[[], Sequence[Callback]] | None) -> None:
    train(None if callbacks is None else callbacks())


def _kinds(folder: Path) -> dict[str, Callable[[], Sequence[Callback]] | None]:
    numbers = count()

    def deciding() -> list[Callback]:
        return [
            ModelCheckpoint(folder / "best", save_best_only=True),
            ReduceLROnPlateau(patience=EPOCHS),
            EarlyStopping(patience=EPOCHS, restore_best_weights=True),
        ]

    def all_four() -> list[Callback]:
        return [TensorBoard(folder / f"logs{next(numbers)}", histogram_freq=5), *deciding()]

    return {"bare loop": None, "no callbacks": list, "three that decide": deciding, "all four": all_four}


def _more(each: Spread, bare: Spread) -> str:
    if each is bare:
        return ""
    return f"{each.median / bare.median - 1:+.1%} ({each.minimum / bare.minimum - 1:+.1%})"


def sklearn(data: Digits) -> Train:
    """Return the batches of a perceptron's ``partial_fit``."""
    from sklearn.metrics import accuracy_score, log_loss
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    from trainbus.adapters.sklearn import SklearnSubject

    threadpool_limits(1)  # so small a model gains nothing from more threads, and the cores are shared
    classes = np.unique(data.y)

    def shuffled(random: np.random.Generator) -> Iterator[np.ndarray[Any, Any]]:
        order = random.permutation(len(data.x))
        return (order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE))

    def validated(model: MLPClassifier) -> tuple[float, float]:
        chances = model.predict_proba(data.x_val)
        return log_loss(data.y_val, chances), float(accuracy_score(data.y_val, classes[chances.argmax(1)]))

    def train(callbacks: Sequence[Callback] | None) -> None:
        random = np.random.default_rng(0)
        model = MLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.01, random_state=0)
        model.partial_fit(data.x[:BATCH_SIZE], data.y[:BATCH_SIZE], classes=classes)
        if callbacks is None:
            for _ in range(EPOCHS):
                total = 0.0
                for rows in shuffled(random):
                    model.partial_fit(data.x[rows], data.y[rows])
                    total += model.loss_ * len(rows)
                validated(model)
            return
        with Run(SklearnSubject(model), callbacks) as run:
            for _ in run.epochs(EPOCHS):
                for rows in run.batches(shuffled(random)):
                    model.partial_fit(data.x[rows], data.y[rows])
                    run.log(loss=model.loss_, count=len(rows))
                with run.validation():
                    loss, accuracy = validated(model)
                    run.log(loss=loss, accuracy=accuracy)

    return train


def torch(data: Digits) -> Train:
    """A loop as PyTorch's tutorials write it."""
    import torch

    from trainbus.adapters.torch import TorchSubject

    torch.set_num_threads(1)  # as above
    x, y, x_val, y_val = (torch.from_numpy(array) for array in data)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=BATCH_SIZE, shuffle=True)
    loss_of = torch.nn.functional.cross_entropy

    def write(file: Path, state: dict[str, Any]) -> None:
        """Write a state so that the old file or the new one survives a power cut."""
        new = file.with_suffix(".new")
        with new.open("wb") as opened:
            torch.save(state, opened)
            opened.flush()
            os.fsync(opened.fileno())
        digest = hashlib.sha256(new.read_bytes()).hexdigest()
        new.replace(file)
        with file.with_suffix(".sha256").open("w") as opened:
            opened.write(digest)
            opened.flush()
            os.fsync(opened.fileno())
        folder = os.open(file.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def train(callbacks: Sequence[Callback] | None, by_hand: Path | None = None) -> None:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

        def step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss = loss_of(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        @torch.no_grad()
        def validated() -> tuple[torch.Tensor, torch.Tensor]:
            scores = model(x_val)
            return loss_of(scores, y_val), (scores.argmax(1) == y_val).float().mean()

        if callbacks is None:
            best = float("inf")
            for epoch in range(EPOCHS):
                total = 0.0
                for images, labels in loader:
                    total += step(images, labels).item() * len(images)
                loss, _ = (value.item() for value in validated())
                if by_hand is not None and loss < best:
                    best = loss
                    state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
                    in_memory = copy.deepcopy(state)
                    write(by_hand, {**in_memory, "random": torch.get_rng_state()})
            return
        with Run(TorchSubject(model, optimizer), callbacks) as run:
            for _ in run.epochs(EPOCHS):
                for images, labels in run.batches(loader):
                    run.log(loss=step(images, labels), count=len(images))
                with run.validation():
                    loss, accuracy = validated()
                    run.log(loss=loss, accuracy=accuracy)

    return train


def keras(data: Digits) -> Train:
    """Keras's own ``fit``."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from trainbus.adapters.keras import KerasCallback

    def train(callbacks: Sequence[Callback] | None) -> None:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")], name="digits"
        )
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(
            data.x,
            data.y,
            batch_size=BATCH_SIZE,
            validation_data=(data.x_val, data.y_val),
            epochs=EPOCHS,
            verbose=0,
            callbacks=None if callbacks is None else [KerasCallback(callbacks)],
        )

    return train


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
