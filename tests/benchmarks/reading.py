"""Time to read event files, compared with TensorBoard's own reader.

The files have 300,000 scalars in PyTorch's encoding, 300,000 in Keras's, and images and histograms between scalars.
Both readers read the same file in the same process, in a random order in every round. Times are in seconds.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .measuring import Timed, interleaved, table, versions

SCALARS, TAGS, IMAGES = 300_000, 10, 300


def main(rounds: int = 5) -> None:
    """Measure and print the table."""
    from trainbus.replay.readers.tensorboard.scalars import read_scalars

    print(f"{versions('numpy', 'tensorboard')}; {rounds} rounds\n")
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for name, records in FILES.items():
            path = Path(folder, name.split()[0], "events.out.tfevents.1")
            path.parent.mkdir()
            path.write_bytes(b"".join(records()))
            timed = {
                "trainbus": Timed(lambda path=path: read_scalars(path, []), 1),
                "EventAccumulator": Timed(lambda path=path: accumulate(path), 1),
            }
            taken = interleaved(timed, rounds)
            own, other = taken["trainbus"], taken["EventAccumulator"]
            rows.append(
                [
                    f"{name}, {path.stat().st_size / 1e6:.0f} MB",
                    *(f"{each.median / 1e9:.2f} ({each.minimum / 1e9:.2f})" for each in (own, other)),
                    f"{other.median / own.median:.0f} ({other.minimum / own.minimum:.0f})",
                ]
            )
    print(table(["", "trainbus", "EventAccumulator", "times"], rows))


def accumulate(path: Path) -> None:
    """Read a file with TensorBoard, and convert the tensors to numbers."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    kinds = ("scalars", "tensors", "images", "histograms")
    reader = EventAccumulator(str(path), size_guidance=dict.fromkeys(kinds, 0)).Reload()
    for tag in reader.Tags()["tensors"]:
        [np.frombuffer(each.tensor_proto.tensor_content or b"\0\0\0\0", "<f4") for each in reader.Tensors(tag)]


def torch_scalars(number: int = SCALARS) -> Iterator[bytes]:
    """Yield records as ``SummaryWriter.add_scalar`` writes them."""
    from tests.core.replay.streams import event, scalar, summary_pb2

    for index, value in enumerate(np.random.default_rng(0).random(number).tolist()):
        values = [scalar(f"loss/metric_{index % TAGS}", value)]
        yield event(index // TAGS, 1e9 + index / 10, summary=summary_pb2.Summary(value=values))


def keras_scalars() -> Iterator[bytes]:
    """Yield records as TensorFlow writes them for Keras: tensors with the name of the plugin."""
    from tests.core.replay.streams import event, summary_pb2, tensor

    for index, value in enumerate(np.random.default_rng(0).random(SCALARS).tolist()):
        made = tensor(f"epoch_metric_{index % TAGS}", value)
        yield event(index // TAGS, 1e9 + index / 10, summary=summary_pb2.Summary(value=[made]))


def images() -> Iterator[bytes]:
    """Yield an image of 200 kB and a histogram after each scalar."""
    from tests.core.replay.streams import event, summary_pb2

    for index, record in enumerate(torch_scalars(IMAGES)):
        image = summary_pb2.Summary.Image(height=8, width=8, colorspace=3, encoded_image_string=bytes(200_000))
        histogram = summary_pb2.HistogramProto(bucket_limit=np.arange(500.0), bucket=np.ones(500))
        image = summary_pb2.Summary.Value(tag="image", image=image)
        weights = summary_pb2.Summary.Value(tag="weights", histo=histogram)
        yield record
        for value in (image, weights):
            yield event(index, 1e9, summary=summary_pb2.Summary(value=[value]))


FILES: dict[str, Callable[[], Iterator[bytes]]] = {
    "PyTorch's scalars": torch_scalars,
    "Keras's scalars": keras_scalars,
    "images and histograms": images,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*(int(argument) for argument in sys.argv[1:]))
