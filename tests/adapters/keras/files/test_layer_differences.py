"""In which layers a file and a model differ; what loading does with it is in test_loading.py."""

from pathlib import Path
from typing import Any

import keras
import pytest

from trainbus.adapters.keras.files.layer_differences import differing_layers, weights_of_other_layers
from trainbus.adapters.keras.subject import KerasSubject


def model(*units: int) -> Any:
    """Return a model of dense layers."""
    made = keras.Sequential([keras.Input((4,)), *map(keras.layers.Dense, units)])
    made.compile("adam", "mse")
    return made


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize(
    ("saved", "present", "lacking", "more"),
    [
        ((3, 2), (3, 2), "", ""),
        ((3,), (3, 2), "the file has no weights of layers/dense_1", ""),
        ((3, 2), (3,), "", "layers/dense_1"),
        ((3,), (4,), "the file has other shapes of layers/dense", ""),
        (
            (3,),
            (4, 3, 2),
            "the file has no weights of layers/dense_1, layers/dense_2 and other shapes of layers/dense",
            "",
        ),
        ((3, 2, 1), (4, 2), "the file has other shapes of layers/dense, layers/dense_1", "layers/dense_2"),
    ],
)
def test_the_layers_are_named(
    saved: tuple[int, ...], present: tuple[int, ...], lacking: str, more: str, suffix: str
) -> None:
    """What the optimizer stores for them is no difference of the layers."""
    path = Path(f"saved{suffix}")
    KerasSubject(model(*saved)).save(path, weights_only=suffix != ".keras")
    other = model(*present)
    assert (differing_layers(other, path), weights_of_other_layers(other, path)) == (lacking, more)
