"""The parser of event records."""

from pathlib import Path

import numpy as np
import pytest

from ...streams import event, read, summary_pb2, tensor, write

TYPES = [np.float32, np.float64, np.float16, np.bool_]
TYPES += [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("content", [False, True], ids=["values", "content"])
def test_every_type_of_tensor_is_read(dtype: type, content: bool, tmp_path: Path):
    """A scalar of each dtype is read back, whether its value or its bytes were written."""
    given = [np.asarray(number, dtype) for number in (0, 1, 100)]
    if np.dtype(dtype).kind == "i":
        given.append(np.asarray(-3, dtype))
    made = [tensor("x", number, dtype) for number in given]
    if content:
        for each, number in zip(made, given, strict=True):
            each.tensor.CopyFrom(type(each.tensor)(dtype=each.tensor.dtype, tensor_content=number.tobytes()))
    records = [event(step, summary=summary_pb2.Summary(value=[each])) for step, each in enumerate(made)]

    assert [value for *_, value in read(write(tmp_path / "events", records))[0]] == [float(each) for each in given]


@pytest.mark.parametrize("held", [{"half_val": [0x3FC0]}, {"tensor_content": b"\xc0\x3f"}], ids=["values", "content"])
def test_bfloat16_is_read(held, tmp_path: Path):
    """Bfloat16, the upper half of a float32, is read although NumPy lacks it."""
    value = tensor("x", 0.0)
    value.tensor.CopyFrom(type(value.tensor)(dtype=14, **held))

    assert read(write(tmp_path / "events", [event(summary=summary_pb2.Summary(value=[value]))]))[0][0][3] == 1.5


def test_values_that_are_not_scalars_are_left_out(tmp_path: Path):
    """Vectors, images and the tensors of other plugins are not scalars."""
    others = [
        tensor("vector", [1.0, 2.0]),
        tensor("empty", []),
        tensor("curve", 1.0, plugin="pr_curves"),
        summary_pb2.Summary.Value(tag="image", image=summary_pb2.Summary.Image(height=1, encoded_image_string=b"x")),
    ]
    records = [event(step, summary=summary_pb2.Summary(value=[each])) for step, each in enumerate(others)]

    assert read(write(tmp_path / "events", records))[0] == []
