"""Images of weights: blue below zero, white at zero, red above."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from math import prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from .histogram import Array, as_floats

GAP, NOT_A_NUMBER, ZERO = 0, 1, 128
"""Indices of colours; 2 to 254 are the scale, with zero in its middle."""

_REACH = 126  # number of colours on either side of zero


def _palette() -> Array:
    # ColorBrewer's RdBu, reversed so that red is positive: readable with any colour vision
    stops = np.array([[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]], float)
    places = np.linspace(ZERO - _REACH, ZERO + _REACH, len(stops))
    scale: Array = np.stack([np.interp(np.arange(256), places, stops[:, each]) for each in range(3)], axis=1)
    scale[GAP], scale[NOT_A_NUMBER] = (180, 180, 180), (0, 0, 0)
    palette: Array = np.rint(scale).astype(np.uint8)
    return palette


PALETTE = _palette()
"""Red, green and blue of each of the 256 colours."""

SIDE = 1024
"""Maximum width and height of an image, in values."""

_READABLE = 256  # smaller images are enlarged to about this many pixels


class WeightImage(NamedTuple):
    """A PNG file in memory."""

    width: int
    height: int
    png: bytes


def weight_images(array: Any, maximum: int = 1) -> Iterator[WeightImage]:
    """Yield at most ``maximum`` images of a weight; none for a scalar or an empty array.

    The largest magnitude gets the strongest colour; NaN is black. A vector is one row; a matrix has, as in Keras, its
    longer side horizontal. An array of more dimensions holds kernels, which are tiled in a grid, the inputs of one
    output side by side. The spatial dimensions are guessed from the sizes, since frameworks differ: (out, in, height,
    width) in PyTorch, (height, width, in, out) in Keras. A matrix larger than ``SIDE`` shows the largest magnitude of
    each patch; kernels that do not fit into a grid go into the next image.
    """
    floats = as_floats(array)
    if floats is None or not floats.ndim or not floats.size:
        return
    finite = floats[np.isfinite(floats)]
    scale = float(np.abs(finite).max(initial=0)) or 1.0
    for image in islice(_images(floats, scale), maximum):
        yield WeightImage(image.shape[1], image.shape[0], _png(image))


def _images(floats: Array, scale: float) -> Iterator[Array]:
    if floats.ndim == 1:
        row = _color_indices(_downsampled(floats[None]), scale)
        yield _enlarged(row.repeat(max(1, row.shape[1] // 16), axis=0))
    elif floats.ndim == 2:
        yield _enlarged(_color_indices(_downsampled(floats if floats.shape[0] <= floats.shape[1] else floats.T), scale))
    else:
        yield from _grids(_kernels(floats), scale)


def _color_indices(values: Array, scale: float) -> Array:
    with np.errstate(invalid="ignore"):
        steps = np.rint(np.clip(values.astype(np.float64) / scale, -1, 1) * _REACH) + ZERO
    return np.where(np.isnan(steps), NOT_A_NUMBER, steps).astype(np.uint8)


def _downsampled(matrix: Array) -> Array:
    for axis in (0, 1):
        patch = -(-matrix.shape[axis] // SIDE)
        if patch > 1:
            starts = list(range(0, matrix.shape[axis], patch))
            low, high = (pick.reduceat(matrix, starts, axis) for pick in (np.minimum, np.maximum))
            matrix = np.where(-low > high, low, high)
    return matrix


def _kernels(array: Array) -> Array:
    """Return the array as (out, in, height, width)."""
    if array.ndim == 3:
        # one kernel for each output, its inputs vertical
        array = array if array.shape[2] <= array.shape[0] else array.transpose(2, 1, 0)
        return array[:, None]
    spatial = array.ndim - 2
    leading, trailing = array.shape[:spatial], array.shape[2:]
    squares = len(set(leading)) == 1, len(set(trailing)) == 1
    if squares[0] > squares[1] or (squares[0] == squares[1] and prod(leading) < prod(trailing)):
        array = array.transpose(-1, -2, *range(spatial))
    return array.reshape(*array.shape[:2], -1, array.shape[-1])


def _grids(kernels: Array, scale: float) -> Iterator[Array]:
    kernels = kernels[:, :, :SIDE, :SIDE]
    outputs, inputs, height, width = kernels.shape
    across = min(inputs, max(1, SIDE // width))
    # outputs side by side, so that the grid is about square
    columns = max(1, min(round(sqrt(outputs * height / (across * width))), SIDE // (across * width)))
    rows = -(-outputs // columns)
    columns = -(-outputs // rows)
    shown = columns * min(rows, max(1, SIDE // height))
    for output in range(0, outputs, shown):
        for first in range(0, inputs, across):
            yield _grid(kernels[output : output + shown, first : first + across], columns, scale)


def _grid(kernels: Array, columns: int, scale: float) -> Array:
    outputs, inputs, height, width = kernels.shape
    rows = -(-outputs // columns)
    times = max(1, _READABLE // max(rows * height, columns * inputs * width))
    height, width = times * height + 1, times * width + 1  # with a line between kernels
    canvas = np.full((rows * columns, inputs, height, width), GAP, np.uint8)
    canvas[:outputs, :, :-1, :-1] = _color_indices(kernels, scale).repeat(times, axis=2).repeat(times, axis=3)
    tiles = canvas.reshape(rows, columns, inputs, height, width).transpose(0, 3, 1, 2, 4)
    return tiles.reshape(rows * height, columns * inputs * width)[:-1, :-1]


def _enlarged(image: Array) -> Array:
    times = max(1, _READABLE // max(image.shape))
    return image.repeat(times, axis=0).repeat(times, axis=1)


def _png(image: Array) -> bytes:
    height, width = image.shape
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with its filter, 0 for none
    lines[:, 1:] = image
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits a pixel, colours from the palette
    parts = [
        (b"IHDR", header),
        (b"PLTE", PALETTE.tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 1)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
