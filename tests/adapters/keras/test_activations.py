"""The outputs of the layers of Keras models, computed for validation data without side effects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.keras import KerasSubject
from trainbus.adapters.keras.activations import activations, why_unreadable

HELD_OUT = np.random.default_rng(1).normal(size=(15, 6)).astype("float32")
BATCH = 4
"""Rows to a batch of a data set."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of these rows with targets, which counts its epochs."""

    epochs = 0

    def __init__(self, rows: Any) -> None:
        super().__init__()
        self.rows = rows

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / BATCH)

    def __getitem__(self, number: int) -> Any:
        part = self.rows[BATCH * number : BATCH * (number + 1)]
        return part, np.zeros(len(part))

    def on_epoch_end(self) -> None:
        self.epochs += 1


def chain() -> Any:
    """A model that scales its inputs in two layers."""
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(3, name="first"), keras.layers.Dense(2, "relu", name="last")]
    return keras.Sequential([keras.Input((6,)), *layers], name="chain")


def collected(found: Iterator[tuple[str, Any]]) -> dict[str, list[Any]]:
    arrays: dict[str, list[Any]] = {}
    for name, array in found:
        arrays.setdefault(name, []).append(array)
    return arrays


@given(
    rows=st.integers(1, 15),
    size=st.integers(1, 20),
    steps=st.none() | st.integers(1, 3),
    form=st.sampled_from(["array", "pair", "triple", "data set"]),
)
def test_each_row_passes_once_in_batches_of_at_most_the_size(
    rows: int, size: int, steps: int | None, form: str
) -> None:
    """In each form that ``fit`` takes, the joined outputs are those of one pass; steps limit a data set's batches."""
    model, x = chain(), HELD_OUT[:rows]
    data: Any = {"array": x, "pair": (x, x), "triple": (x, x, np.ones(rows)), "data set": Batches(x)}[form]
    if form != "data set":
        steps = None
    elif steps is not None:
        steps = min(steps, len(data))

    found = collected(activations(model, data, size, steps))

    used = x if steps is None else x[: steps * BATCH]
    first = keras.ops.convert_to_numpy(model.layers[0](used))
    assert list(found) == ["chain/first", "chain/last"]
    assert all(len(array) <= size for arrays in found.values() for array in arrays)
    np.testing.assert_allclose(np.concatenate(found["chain/first"]), first, rtol=1e-4, atol=1e-5)
    last = keras.ops.convert_to_numpy(model.layers[1](first))
    np.testing.assert_allclose(np.concatenate(found["chain/last"]), last, rtol=1e-4, atol=1e-5)
    assert form != "data set" or data.epochs == 0


class Breaks(keras.layers.Layer):  # type: ignore[misc]
    """A layer that raises if it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def call(self, x: Any) -> Any:
        if self.broken:
            raise ArithmeticError("no")
        return x


@pytest.mark.parametrize("broken", [True, False])
def test_layers_are_left_as_they_were(broken: bool) -> None:
    """Also when one of them raises: calls, weights and moving statistics are the model's own."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization(), keras.layers.Dense(2), Breaks()])
    before, attributes = model.get_weights(), [set(vars(layer)) for layer in model.layers]
    model.layers[-1].broken = broken
    if broken:
        with pytest.raises(ArithmeticError, match="no"):
            list(activations(model, HELD_OUT, 5, None))
    else:
        assert len(list(activations(model, HELD_OUT, 5, None))) == 3 * 3

    assert [set(vars(layer)) for layer in model.layers] == attributes
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_outputs_are_numbers_that_numpy_has() -> None:
    """Outputs of types that NumPy lacks are float32; the arrays are copies."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, dtype="bfloat16"), keras.layers.Dense(1)])
    arrays = [array for _, array in activations(model, HELD_OUT, 15, None)]

    assert [array.dtype.name for array in arrays] == ["float32", "float32"]
    assert all(array.flags.owndata and array.flags.writeable for array in arrays)


def test_data_that_lasts_for_one_pass_is_refused_with_the_fix() -> None:
    """Generators are, also as the inputs of a pair; arrays, pairs and data sets are not."""
    assert "give fit validation_data=, or give it to KerasCallback" in str(why_unreadable(None))
    for once in (iter([HELD_OUT]), (iter([HELD_OUT]), None)):
        assert "can be iterated only once; give arrays or a data set: KerasCallback(" in str(why_unreadable(once))
    for data in (HELD_OUT, (HELD_OUT, HELD_OUT), [HELD_OUT, HELD_OUT], Batches(HELD_OUT), {"a": HELD_OUT}):
        assert why_unreadable(data) is None


def test_keras_models_of_any_make_are_seen() -> None:
    """Layers of a subclassed model, of models inside, of several inputs and outputs, and what a cell keeps."""

    class Made(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="made")
            self.first = keras.layers.Dense(3, name="first")
            self.inner = keras.Sequential([keras.layers.Dense(4, name="deep")], name="inner")
            self.recurrent = keras.layers.LSTM(2, return_state=True, stateful=True, name="cell")
            self.recurrent(np.ones((15, 2, 2), "float32"))

        def call(self, given: Any) -> Any:
            mixed = self.inner(self.first(given["a"]) + self.first(given["b"]))
            return self.recurrent(keras.ops.reshape(mixed, (-1, 2, 2)))[0]

    model = Made()
    data = {"a": HELD_OUT, "b": HELD_OUT[::-1].copy()}
    model(data)
    state = [np.array(each) for each in model.recurrent.states]
    found: dict[str, list[Any]] = {}
    for name, array in KerasSubject(model, validation_data=(data, HELD_OUT)).activations(15):
        found.setdefault(name, []).append(array)
    shapes = {name: [array.shape for array in arrays] for name, arrays in found.items()}
    cell = {f"cell/{number}": [(15, 2)] for number in range(3)}
    assert shapes == {"made/first": [(15, 3)] * 2, "made/inner/deep": [(15, 4)], **cell}
    for before, after in zip(state, model.recurrent.states, strict=True):
        np.testing.assert_array_equal(before, np.array(after))


def test_a_layer_that_always_draws_goes_on_drawing_as_before() -> None:
    """The random state of a layer that draws even in evaluation is not changed by looking."""

    class Noisy(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x: Any) -> Any:
            return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds)

    model = keras.Sequential([keras.Input((6,)), Noisy()])
    subject = KerasSubject(model, validation_data=HELD_OUT)
    before = np.array(model.layers[0].seeds.state)
    list(subject.activations(4))
    np.testing.assert_array_equal(before, np.array(model.layers[0].seeds.state))
