"""Three small trainings that differ only in their framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from sklearn.neural_network import MLPClassifier

from trainbus import Run, hookimpl
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.adapters.sklearn import partial_fit
from trainbus.adapters.torch import TorchSubject

_random = np.random.default_rng(0)
ROWS = _random.normal(size=(40, 6)).astype("float32")
LABELS = (ROWS[:, 0] > 0).astype("int64")
HELD_OUT = _random.normal(size=(15, 6)).astype("float32")


def train_torch(callbacks: list[Any], epochs: int = 3, **options: Any) -> Run:
    """Shuffled, with batch normalisation, dropout and work in place."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(8, 2),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    data = torch.utils.data.TensorDataset(torch.from_numpy(ROWS), torch.from_numpy(LABELS))
    loader = torch.utils.data.DataLoader(data, 8, shuffle=True)
    held_out = torch.utils.data.DataLoader(torch.from_numpy(HELD_OUT), 7, shuffle=True)
    loss_of = torch.nn.functional.cross_entropy
    with Run(TorchSubject(model, optimizer, probe=held_out), callbacks, **options) as run:
        for _ in run.epochs(epochs):
            model.train()
            for rows, labels in run.batches(loader):
                loss = loss_of(model(rows), labels)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()
                run.log(loss=loss, count=len(rows))
            with run.validation():
                run.log(loss=1.0)
    return run


def train_keras(callbacks: list[Any], epochs: int = 3, **options: Any) -> Run:
    """As above."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,), name="rows"),
            layers.Dense(8, "relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.3, name="drop"),
            layers.Dense(2, "softmax", name="second"),
        ],
        name="small",
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    bus = KerasCallback(callbacks, **options)
    held_out = HELD_OUT, np.zeros(len(HELD_OUT), "int64")
    model.fit(ROWS, LABELS, batch_size=8, epochs=epochs, validation_data=held_out, callbacks=[bus], verbose=0)
    return bus.run


def train_sklearn(callbacks: list[Any], epochs: int = 3, **options: Any) -> Run:
    """A multi-layer perceptron."""
    model = MLPClassifier((8, 4), learning_rate_init=0.05, random_state=1)
    held_out = HELD_OUT, np.zeros(len(HELD_OUT), "int64")
    return partial_fit(
        model,
        ROWS,
        LABELS,
        batch_size=8,
        epochs=epochs,
        validation_data=held_out,
        callbacks=callbacks,
        random_state=np.random.RandomState(1),
        **options,
    )


TRAININGS: dict[str, Callable[..., Run]] = {"torch": train_torch, "keras": train_keras, "sklearn": train_sklearn}


def activations(subject: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return the outputs of each layer for the held-out rows, computed independently."""
    if isinstance(subject, TorchSubject):
        x, found = torch.from_numpy(HELD_OUT), {}
        layers = dict(subject.model.named_children())
        modes = {name: layer.training for name, layer in layers.items()}
        with torch.no_grad():
            for name, layer in layers.items():
                layer.eval()
                x = layer(x.clone())
                layer.train(modes[name])
                found[name] = x.numpy()
        return found
    if hasattr(subject, "estimator"):
        model = subject.estimator
        first = np.maximum(HELD_OUT @ model.coefs_[0] + model.intercepts_[0], 0)
        second = np.maximum(first @ model.coefs_[1] + model.intercepts_[1], 0)
        return {"hidden_1": first, "hidden_2": second, "output": model.predict_proba(HELD_OUT)[:, 1:]}
    x, found = keras.ops.convert_to_tensor(HELD_OUT), {}
    for layer in subject.model.layers:
        x = layer(x, training=False)
        found[layer.path or layer.name] = keras.ops.convert_to_numpy(x.detach() if hasattr(x, "detach") else x)
    return found


GRADIENTS = {"torch": True, "keras": keras.backend.backend() == "torch", "sklearn": False}
"""The frameworks that provide them."""


class Witness:
    """A plugin that keeps the model's internals at each epoch's end, for PyTorch the gradients of its first update."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Any]] = []
        self.activations: list[dict[str, Any]] = []
        self.gradients: list[dict[str, Any]] = []
        self.steps: list[int] = []
        self.waiting = False

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        if isinstance(run.subject, TorchSubject):
            names = {id(weight): name.replace(".", "/") for name, weight in run.subject.model.named_parameters()}
            (optimizer,) = run.subject.optimizers.values()

            def note(*_: Any) -> None:
                if self.waiting:
                    (group,) = optimizer.param_groups
                    self.gradients.append({names[id(each)]: each.grad.numpy().copy() for each in group["params"]})
                self.waiting = False

            optimizer.register_step_pre_hook(note)

    @hookimpl
    def on_epoch_begin(self) -> None:
        self.waiting = True

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        subject: Any = run.subject
        self.steps.append(run.step)
        self.weights.append({name: np.array(array) for name, array in subject.weights()})
        self.activations.append(activations(subject))
        if isinstance(subject, KerasSubject) and GRADIENTS["keras"]:
            trained = subject.model.trainable_variables
            self.gradients.append({each.path: each.value.grad.numpy().copy() for each in trained})
