"""Plain data and compressed logs are loaded as they were saved; each item is visited once."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus.resume.serialization import (
    compress_arrays,
    compress_log,
    decompress_log,
    from_json_data,
    to_json_data,
)

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=5))
def test_a_compressed_log_holds_each_item(items: list[Any]) -> None:
    text = compress_log([to_json_data(item)] for item in items)

    assert repr([from_json_data(item) for (item,) in decompress_log(text)]) == repr(items)


@given(VALUES)
def test_plain_data_comes_back_to_the_bit(value: Any) -> None:
    """Through JSON text; with or without arrays the same."""
    plain = to_json_data(value)

    assert repr(from_json_data(json.loads(json.dumps(plain)))) == repr(value)
    assert to_json_data(value, arrays=False) == plain
    assert repr(from_json_data(compress_arrays(plain))) == repr(value)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "u1", "?", "c8"])
def test_arrays_come_back_unless_they_are_refused(kind: str, shape: tuple[int, ...]) -> None:
    """Type, shape and values are restored; a tensor is restored as an array."""
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind)
    for given_array in (array, torch.from_numpy(array)):
        for plain in (to_json_data([given_array]), compress_arrays(to_json_data([given_array]))):
            (back,) = from_json_data(json.loads(json.dumps(plain)))
            assert (back.dtype, back.shape) == (array.dtype, shape)
            assert np.array_equal(back, array)
        refusal = r"^\[0\] is of type \w+, which is not plain data; use numbers, text, lists and"
        with pytest.raises(TypeError, match=refusal):
            to_json_data([given_array], arrays=False)


@pytest.mark.parametrize("scalar", [np.float32(0.5), np.float64(2.5), np.int64(3), np.uint8(7), np.bool_(True)])
def test_numpy_scalars_are_numbers(scalar: Any) -> None:
    """Even if arrays are refused."""
    assert repr(to_json_data({"a": scalar}, arrays=False)) == repr({"a": scalar.item()})
