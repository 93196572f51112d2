"""Event files for tests, built from TensorBoard's protobuf messages and tensorboardX's checksums."""

import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.util import tensor_util
from tensorboardX.record_writer import masked_crc32c

from tests.plugins.event_readers import read as accumulate
from trainbus.replay.readers.tensorboard.scalars import Scalars, read_scalars

Number = tuple[str, int, float, float]
"""Tag, step, time and value."""


def framed(content: bytes) -> bytes:
    """Return a record with its length and its checksums."""
    length = struct.pack("<Q", len(content))
    checks = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return length + next(checks) + content + next(checks)


def event(step: int = 0, time: float = 1.0, **content: Any) -> bytes:
    """Return the record of one event."""
    return framed(event_pb2.Event(wall_time=time, step=step, **content).SerializeToString())


def scalar(tag: str, value: float) -> Any:
    """Return a number as most writers encode it."""
    return summary_pb2.Summary.Value(tag=tag, simple_value=value)


def tensor(tag: str, value: Any, dtype: Any = np.float32, plugin: str = "scalars") -> Any:
    """Return a number as TensorFlow encodes it."""
    metadata = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin))
    made = tensor_util.make_tensor_proto(np.asarray(value, dtype))
    return summary_pb2.Summary.Value(tag=tag, tensor=made, metadata=metadata)


def write(path: Path, records: Iterable[bytes]) -> Path:
    """Write an event file, with the version record that all begin with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join([event(file_version="brain.Event:2"), *records]))
    return path


def numbers(found: Scalars) -> Iterator[Number]:
    """Yield what was read, one number at a time."""
    for tag, step, time, value in found.numbers[["tag", "step", "time", "value"]].tolist():
        yield found.names[tag], step, time, value


def read(path: Path) -> tuple[list[Number], list[str]]:
    """Return the numbers in a file, and the notes of the reader."""
    notes: list[str] = []
    return list(numbers(read_scalars(path, notes))), notes


def assert_reads_as_tensorboard(folder: Path) -> None:
    """Assert that each tag of every event file has the numbers that TensorBoard's EventAccumulator reads, in order."""
    for path in folder.rglob("*tfevents*"):
        found: dict[str, list[tuple[int, float, float]]] = {}
        for tag, *number in read(path)[0]:
            found.setdefault(tag, []).append(tuple(number))
        reader = accumulate(path.parent)["."]
        tags = reader.Tags()
        expected = {
            tag: [(each.step, each.wall_time, each.value) for each in reader.Scalars(tag)] for tag in tags["scalars"]
        }
        for tag in tags["tensors"]:
            if reader.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                values = [(each, float(tensor_util.make_ndarray(each.tensor_proto))) for each in reader.Tensors(tag)]
                expected[tag] = [(each.step, each.wall_time, value) for each, value in values]
        assert repr(sorted(found.items())) == repr(sorted(expected.items()))


def curve(tag: str, steps: range | list[int], value: float = 0.0) -> list[bytes]:
    """Return the record of a number at each step: the step plus ``value``."""
    return [event(step, 100.0 + step, summary=summary_pb2.Summary(value=[scalar(tag, step + value)])) for step in steps]


def sample() -> list[bytes]:
    """Return records of several lengths and kinds."""
    return [
        event(step, float(step), summary=summary_pb2.Summary(value=[make(tag, step / 7)]))
        for step in range(4)
        for tag, make in [("loss", scalar), ("val_loss", scalar), ("epoch_loss", tensor)]
    ]
