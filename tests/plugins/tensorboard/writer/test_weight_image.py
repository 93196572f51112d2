"""Tests of images of weights: zero in the middle of the scale, the largest magnitude at an end of it."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from trainbus.plugins.tensorboard.writer.weight_image import (
    GAP,
    NOT_A_NUMBER,
    PALETTE,
    SIDE,
    ZERO,
    WeightImage,
    weight_images,
)

floats = st.floats(-1e6, 1e6, width=32)


def pixels(array: Any) -> Any:
    """Return the image, decoded by another library."""
    (made,) = weight_images(array)
    return decoded(made)


def decoded(made: WeightImage) -> Any:
    image = np.asarray(Image.open(io.BytesIO(made.png)).convert("RGB"))
    assert image.shape == (made.height, made.width, 3)
    return image


def colours(image: Any) -> set[tuple[int, ...]]:
    return {tuple(map(int, colour)) for colour in image.reshape(-1, 3)}


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=1, max_dims=5, max_side=6), elements=floats))
def test_zero_is_the_middle_and_extremes_are_the_ends(array: Any):
    """The largest magnitude has the colour at an end of the scale, and zero the middle one, for any shape."""
    array.flat[0] = 0
    shown = colours(pixels(array))
    assert tuple(PALETTE[ZERO]) in shown
    largest = array.flat[np.abs(array).argmax()]
    assert tuple(PALETTE[ZERO + 126 * int(np.sign(largest))]) in shown


@given(arrays.arrays(np.float64, (4, 9), elements=st.floats(-1, 1)))
def test_a_matrix_is_shown_value_by_value(matrix: Any):
    """Every pixel of a small matrix is the colour of its value: twice the value, twice as far on the scale."""
    matrix[0, 0] = 1
    image = pixels(matrix)
    times = image.shape[1] // 9
    np.testing.assert_array_equal(image[::times, ::times], PALETTE[(np.rint(matrix * 126) + ZERO).astype(int)])


def test_scale_is_diverging():
    """Below zero is blue, above is red, and the middle is the lightest of all."""
    scale = PALETTE[2:255].astype(int)
    assert (scale[:100, 2] > scale[:100, 0]).all()
    assert (scale[-100:, 0] > scale[-100:, 2]).all()
    assert scale.sum(axis=1).argmax() == ZERO - 2
    assert len({tuple(colour) for colour in PALETTE[[GAP, NOT_A_NUMBER, 2, ZERO, 254]]}) == 5


def test_values_that_are_not_finite_have_their_own_colours():
    """NaN is black, infinity is the end of the scale, and neither changes the other colours."""
    image = pixels(np.array([[np.nan, np.inf, -np.inf, 0.5, 1.0]]))
    times = image.shape[1] // 5
    expected = [NOT_A_NUMBER, ZERO + 126, ZERO - 126, ZERO + 63, ZERO + 126]
    np.testing.assert_array_equal(image[0, ::times], PALETTE[expected])


@pytest.mark.parametrize(("shape", "outputs", "kernel"), [((8, 3, 5, 5), 8, (5, 5)), ((5, 5, 3, 8), 8, (5, 5))])
def test_kernels_of_every_framework_are_tiled_completely(shape: tuple[int, ...], outputs: int, kernel: tuple[int, int]):
    """A convolution's kernels are tiled completely in one grid, channels last or first."""
    array = np.arange(1, np.prod(shape) + 1, dtype=float).reshape(shape)
    spatial = array if shape[2:] == kernel else array.transpose(3, 2, 0, 1)
    image = pixels(array)
    gaps = (image == PALETTE[GAP]).all(axis=2)
    lines, columns = np.flatnonzero(gaps.all(axis=1)), np.flatnonzero(gaps.all(axis=0))
    first = image[: lines[0], : columns[0]]
    times = len(first) // kernel[0]
    expected = PALETTE[(np.rint(spatial[0, 0] / array.max() * 126) + ZERO).astype(int)]
    np.testing.assert_array_equal(first[::times, ::times], expected)
    assert (len(lines) + 1) * (len(columns) + 1) >= outputs * 3


@pytest.mark.parametrize("turned", [False, True])
def test_one_dimensional_kernels_are_one_tile_an_output(turned: bool):
    """A kernel over time is a tile, its inputs vertical, whether time is the last axis (PyTorch) or first (Keras)."""
    array = np.arange(1.0, 1 + 4 * 6 * 3).reshape(4, 6, 3)
    image = pixels(array.transpose(2, 1, 0) if turned else array)
    gaps = (image == PALETTE[GAP]).all(axis=2)
    column = np.flatnonzero(gaps.all(axis=0))[0]
    times = column // 3
    expected = PALETTE[(np.rint(array[0] / array.max() * 126) + ZERO).astype(int)]
    np.testing.assert_array_equal(image[: 6 * times : times, :column:times], expected)


def test_a_tall_matrix_is_transposed():
    """A matrix with more rows than columns is shown as its transpose."""
    matrix = np.random.default_rng(0).normal(size=(9, 4))
    np.testing.assert_array_equal(pixels(matrix), pixels(matrix.T))
    assert pixels(matrix).shape[0] < pixels(matrix).shape[1]


def test_an_outlier_in_a_huge_matrix_is_visible():
    """A matrix larger than the largest image shows the largest magnitude of every patch."""
    matrix = np.zeros((3000, 40), np.float32)
    matrix[1234, 7] = -5
    image = pixels(matrix)
    assert max(image.shape) <= SIDE
    assert tuple(PALETTE[ZERO - 126]) in colours(image)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 5))
@example(512, 513, 3)
def test_kernels_that_do_not_fit_are_in_the_next_image(outputs: int, inputs: int, side: int):
    """Each kernel is in exactly one image; as many images as needed are made, up to the requested number."""
    assume(outputs != inputs)  # otherwise the spatial dimensions are ambiguous
    array = np.zeros((outputs, inputs, side, side), np.float32)
    array[:, :, 0, 0] = 1
    made = list(weight_images(array, 100))
    found = 0
    for each in made:
        marked = np.pad((decoded(each) == PALETTE[ZERO + 126]).all(axis=2), 1)
        found += int((marked[1:, 1:] & ~marked[:-1, 1:] & ~marked[1:, :-1]).sum())  # left upper corners
        assert max(each.width, each.height) <= 2 * SIDE
    assert found == outputs * inputs
    assert list(weight_images(array, 2)) == made[:2]


def test_image_sizes_are_bounded():
    """Many large kernels give images of bounded size."""
    for made in weight_images(np.ones((700, 600, 3, 3), np.float32), 3):
        assert max(made.width, made.height) <= 1.5 * SIDE


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.array(1.0), np.array(["a"])])
def test_arrays_without_values_have_no_image(array: Any):
    """Empty arrays, single numbers and arrays without numbers have no image."""
    assert not list(weight_images(array))
