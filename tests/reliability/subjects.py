"""Subjects of the reliability tests: one for each format, whose weights all have one number."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["KINDS", "Kind", "number_in"]


class Kind(NamedTuple):
    """One format: its subject, and how a program without trainbus writes and reads it."""

    subject: Any
    suffix: str
    carry: Callable[[int], object]
    """Set every weight to this number."""
    write: Callable[[Path], object]
    """Write the weights in place, as the framework's users do."""
    read: Callable[[Path], list[Any]]
    """Return the arrays of a complete checkpoint of the subject, or of a file by ``write``."""
    weights_only: bool = False
    """Whether files of this format contain only weights."""

    def save(self, path: Path) -> None:
        """Let the subject save itself."""
        self.subject.save(path, weights_only=self.weights_only)


def number_in(kind: Kind, path: Path) -> int | None:
    """Return the number that all weights in a file have; None if they differ.

    Raises:
        Exception: the framework cannot read the file.
    """
    found = {number for array in kind.read(path) for number in np.unique(np.asarray(array)).tolist()}
    return int(found.pop()) if len(found) == 1 else None


def line(size: int) -> Kind:
    """The line of ``trainbus.testing``, in NumPy's .npz."""
    from trainbus.testing import LineSubject

    subject = LineSubject()

    def carry(number: int) -> None:
        subject.slope, subject.offset = np.full(size, float(number)), np.full(size, float(number))

    def read(path: Path) -> list[Any]:
        with np.load(path) as arrays:
            return [arrays["slope"], arrays["offset"]]

    return Kind(subject, ".npz", carry, lambda path: np.savez(path, slope=subject.slope, offset=subject.offset), read)


def torch(size: int) -> Kind:
    """A PyTorch module, in .pt."""
    import torch

    from trainbus.adapters.torch import TorchSubject

    module = torch.nn.Linear(size, 1)

    def carry(number: int) -> None:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(number)

    def read(path: Path) -> list[Any]:
        found = torch.load(path, weights_only=True)
        found = found.get("state_dict", found.get("model", found))  # Lightning's, trainbus's, or the bare one
        return [tensor.numpy() for tensor in found.values()]

    return Kind(TorchSubject(module), ".pt", carry, lambda path: torch.save(module.state_dict(), path), read)


def safetensors(size: int) -> Kind:
    """The same module, in .safetensors."""
    from safetensors.torch import load_file, save_file

    kind = torch(size)
    module = kind.subject.model

    def read(path: Path) -> list[Any]:
        return [tensor.numpy() for tensor in load_file(path).values()]

    return kind._replace(
        suffix=".safetensors", write=lambda path: save_file(module.state_dict(), path), read=read, weights_only=True
    )


def keras(size: int) -> Kind:
    """A Keras model, in .keras."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from trainbus.adapters.keras import KerasSubject

    model = keras.Sequential([keras.Input((size,)), keras.layers.Dense(1)])

    def carry(number: int) -> None:
        model.set_weights([np.full(array.shape, number, "float32") for array in model.get_weights()])

    def read(path: Path) -> list[Any]:
        return keras.models.load_model(path).get_weights()

    return Kind(KerasSubject(model), ".keras", carry, lambda path: model.save(path, overwrite=True), read)


def weights_h5(size: int) -> Kind:
    """The same model, its weights in .weights.h5."""
    kind = KINDS["keras"](size)  # which chooses the backend
    import keras

    model = kind.subject.model
    reader = keras.models.clone_model(model)

    def read(path: Path) -> list[Any]:
        reader.load_weights(path)
        return reader.get_weights()

    def write(path: Path) -> None:
        model.save_weights(path, overwrite=True)

    return kind._replace(suffix=".weights.h5", write=write, read=read, weights_only=True)


def sklearn(size: int) -> Kind:
    """A linear classifier of scikit-learn, in .skops."""
    import skops.io
    from sklearn.linear_model import SGDClassifier

    from trainbus.adapters.sklearn import SklearnSubject

    classifier = SGDClassifier().partial_fit(np.zeros((2, size)), [0, 1], classes=[0, 1])

    def carry(number: int) -> None:
        classifier.coef_[:] = classifier.intercept_[:] = number

    def read(path: Path) -> list[Any]:
        found = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        return [found.coef_, found.intercept_]

    return Kind(SklearnSubject(classifier), ".skops", carry, lambda path: skops.io.dump(classifier, path), read)


def joblib(size: int) -> Kind:
    """The same classifier, in .joblib, whose files run code and so must be trusted."""
    import joblib

    from trainbus.adapters.sklearn import SklearnSubject

    kind = sklearn(size)
    classifier = kind.subject.estimator

    def read(path: Path) -> list[Any]:
        found = joblib.load(path)
        return [found.coef_, found.intercept_]

    trusting = SklearnSubject(classifier, trusted=[".joblib"])
    return kind._replace(
        subject=trusting, suffix=".joblib", write=lambda path: joblib.dump(classifier, path), read=read
    )


KINDS: dict[str, Callable[[int], Kind]] = {
    "line": line,
    "torch": torch,
    "safetensors": safetensors,
    "keras": keras,
    "weights.h5": weights_h5,
    "sklearn": sklearn,
    "joblib": joblib,
}
"""Functions by name that make the kind with this many weights."""
