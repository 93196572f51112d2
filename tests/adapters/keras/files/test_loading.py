"""Files of Keras are loaded completely or not at all, on the backend of the environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.adapters.keras import KerasSubject

from ..fits import Subclassed, fit, line, subclassed, two_layers

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_loads_the_state_of_an_optimizer_that_is_not_built(suffix: str) -> None:
    """A new model loads the optimizer's state too, so that training continues as if uninterrupted."""
    model, other = line("adam"), line("adam")
    fit(model, None)
    KerasSubject(model).save(Path(f"model{suffix}"), weights_only=suffix != ".keras")

    KerasSubject(other).load(Path(f"model{suffix}"))

    assert int(other.optimizer.iterations) == 5
    fit(model, None, shuffle=False)
    fit(other, None, shuffle=False)
    np.testing.assert_allclose(other.get_weights()[0], model.get_weights()[0], rtol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_a_file_that_does_not_fit_is_refused_by_name(suffix: str) -> None:
    """Another model's, a file that Keras did not write, and one of another framework's suffix."""
    path, weights_only = Path(f"best{suffix}"), suffix != ".keras"
    KerasSubject(compiled_model(units=3)).save(path, weights_only=weights_only)
    subject = KerasSubject(compiled_model(units=2))
    foreign, other = Path(f"foreign{suffix}"), Path("best.pt")
    foreign.write_bytes(b"PK")
    other.write_bytes(path.read_bytes())

    with pytest.raises(
        CheckpointError, match=f"best{suffix}' does not fit this model, .* other shapes of layers/dense;"
    ):
        subject.load(path)
    with pytest.raises(CheckpointError, match=r"best.pt' does not fit this model"):
        subject.load(other)
    with pytest.raises(UnreadableCheckpoint, match=f"{foreign.name}' is not a readable Keras file"):
        subject.load(foreign)


def compiled_model(units: int) -> Any:
    """Return a model with one dense layer of this many units."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    return model


def nested(inner: int, *, normalized: bool = False) -> Any:
    """Return a model with a model of some layers inside."""
    part = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4) for _ in range(inner))])
    if normalized:
        part.add(keras.layers.BatchNormalization())
    return keras.Sequential([keras.Input((4,)), part, keras.layers.Dense(1)])


class Blocks(keras.Model):  # type: ignore[misc, unused-ignore]
    """A model with a list of layers and perhaps a layer and a weight of its own."""

    def __init__(self, count: int, *, head: bool = False, weight: bool = False) -> None:
        super().__init__()
        self.made_with = {"count": count, "head": head, "weight": weight}
        self.blocks = [keras.layers.Dense(4) for _ in range(count)]
        self.head = keras.layers.Dense(1) if head else None
        self.scale = self.add_weight(shape=(1,), name="scale") if weight else None

    def get_config(self) -> Any:
        """Return the arguments."""
        return self.made_with

    def call(self, x: Any) -> Any:
        """Pass through all layers."""
        for block in self.blocks:
            x = block(x)
        x = x if self.head is None else self.head(x)
        return x if self.scale is None else x * self.scale


def stacked(*layers: Any) -> Any:
    """Return a model of these layers."""
    return keras.Sequential([keras.Input((4,)), *layers])


SHRUNK: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "a last layer": (
        lambda: stacked(keras.layers.Dense(4), keras.layers.Dense(4)),
        lambda: stacked(keras.layers.Dense(4)),
        "layers/dense_1",
    ),
    "two layers": (
        lambda: stacked(*(keras.layers.Dense(4) for _ in range(3))),
        lambda: stacked(keras.layers.Dense(4)),
        "layers/dense_1, layers/dense_2",
    ),
    "a normalization": (
        lambda: stacked(keras.layers.Dense(4), keras.layers.BatchNormalization()),
        lambda: stacked(keras.layers.Dense(4)),
        "layers/batch_normalization",
    ),
    "a layer of a model inside": (lambda: nested(2), lambda: nested(1), "layers/sequential/layers/dense_1"),
    "a normalization inside": (
        lambda: nested(1, normalized=True),
        lambda: nested(1),
        "layers/sequential/layers/batch_normalization",
    ),
    "a layer of a list": (lambda: Blocks(2), lambda: Blocks(1), "blocks/dense_1"),
    "an attribute": (lambda: Blocks(1, head=True), lambda: Blocks(1), "head"),
    "a weight of the model itself": (lambda: Blocks(1, weight=True), lambda: Blocks(1), "the model itself"),
    "a bias": (
        lambda: stacked(keras.layers.Dense(4)),
        lambda: stacked(keras.layers.Dense(4, use_bias=False)),
        "layers/dense",
    ),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("case", SHRUNK)
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("optimizer", ["sgd", pytest.param(None, marks=pytest.mark.exhaustive)])
def test_a_file_with_more_layers_is_refused_by_their_names(case: str, suffix: str, optimizer: str | None) -> None:
    """Keras would load what fits and drop the rest; nothing is changed then, and the same model still fits."""
    larger, smaller, named = SHRUNK[case]
    models = [larger(), smaller(), larger()]
    for model in models:
        model(np.zeros((1, 4), "float32"))
        if optimizer is not None:
            model.compile(optimizer, "mse")
    KerasSubject(models[0]).save(Path(f"saved{suffix}"), weights_only=suffix != ".keras")
    values = models[1].get_weights()
    with pytest.raises(CheckpointError, match=rf"does not fit this model.* has more weights: {named};"):
        KerasSubject(models[1]).load(Path(f"saved{suffix}"))

    for one, other in zip(values, models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    KerasSubject(models[2]).load(Path(f"saved{suffix}"))
    for one, other in zip(models[0].get_weights(), models[2].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


dense = keras.layers.Dense
GROWN: dict[str, tuple[list[Any], list[Any], str]] = {
    "a last layer": ([(dense, 4)], [(dense, 4), (dense, 2)], "no weights of layers/dense_1"),
    "a layer between": (
        [(dense, 4), (dense, 1)],
        [(dense, 4), (dense, 2), (dense, 1)],
        "no weights of layers/dense_2 and other shapes of layers/dense_1",
    ),
    "normalization": (
        [(dense, 4), (dense, 1)],
        [(dense, 4), (keras.layers.BatchNormalization,), (dense, 1)],
        "no weights of layers/batch_normalization",
    ),
    "two layers": ([(dense, 4)], [(dense, 4), (dense, 2), (dense, 1)], "no weights of layers/dense_1, layers/dense_2"),
    "a wider layer": ([(dense, 4)], [(dense, 5)], "other shapes of layers/dense"),
    "two wider layers": ([(dense, 4), (dense, 1)], [(dense, 5), (dense, 1)], "other shapes of layers/dense, layers/d"),
}


@pytest.mark.parametrize("case", GROWN)
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_a_file_with_fewer_or_other_layers_is_refused_by_their_names(case: str, suffix: str) -> None:
    """The message is one whole sentence with the way out, not the beginning of Keras's text; nothing is changed."""
    *specs, words = GROWN[case]
    models = [stacked(*(kind(*arguments) for kind, *arguments in spec)) for spec in specs]
    for model in models:
        model.compile("adam", "mse")
        model(np.zeros((1, 4), "float32"))
    KerasSubject(models[0]).save(Path(f"saved{suffix}"), weights_only=suffix != ".keras")
    values = models[1].get_weights()

    sentence = rf"does not fit this model, and nothing was changed; the file has {words}.*; give this model the layers"
    with pytest.raises(CheckpointError, match=sentence) as raised:
        KerasSubject(models[1]).load(Path(f"saved{suffix}"))

    assert "Example" not in str(raised.value)
    for one, other in zip(values, models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_metrics_and_optimizers_are_no_layers(suffix: str) -> None:
    """A file of a compiled model that was trained fits a model without optimizer and metrics."""
    saved, model = two_layers("adam"), two_layers(None)
    saved.compile("adam", "mse", metrics=["mae", keras.metrics.MeanSquaredError()])
    saved.fit(np.zeros((4, 4), "float32"), np.zeros((4, 1), "float32"), verbose=0)
    KerasSubject(saved).save(Path(f"saved{suffix}"), weights_only=suffix != ".keras")
    KerasSubject(model).load(Path(f"saved{suffix}"))
    for one, other in zip(saved.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_weights_loads_nothing() -> None:
    """And says what to do first."""
    KerasSubject(subclassed()).save(Path("file.keras"), weights_only=False)
    model = Subclassed()
    model.compile("sgd", "mse")

    with pytest.raises(CheckpointError, match=r"the model is not built, .*; run one batch through it, or build\(\) it"):
        KerasSubject(model).load(Path("file.keras"))
    assert not model.optimizer.built
