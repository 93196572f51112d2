"""TensorBoard's event files, written at once and in order.

tensorboardX gives the messages and their checksum. Its writer is not used: that hands each scalar to a thread through
a queue, costs five times as much, and blocks the training for ever once the thread has died of a full disk.
"""

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import socket
import struct
import time
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from tensorboardX.proto import event_pb2, graph_pb2, summary_pb2  # type: ignore[import-untyped]
from tensorboardX.record_writer import masked_crc32c  # type: ignore[import-untyped]

from trainbus.capabilities import Node

from .histogram import histogram
from .weight_image import picture

__all__ = ["EventFile", "EventFiles"]


class EventFile:
    """A new event file in a directory, which is made where it is not there.

    What was flushed survives the end of the process, however it ends; closing also waits for the disk.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        stem = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self._file = _new(directory, stem)
        self.write(file_version="brain.Event:2")

    def write(self, **content: Any) -> None:
        """Append one event, with the time of day."""
        data: bytes = event_pb2.Event(wall_time=time.time(), **content).SerializeToString()
        length = struct.pack("<Q", len(data))
        self._file.write(
            b"".join([length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))])
        )

    def flush(self) -> None:
        """Hand everything to the operating system, so that a running TensorBoard sees it."""
        self._file.flush()

    def close(self) -> None:
        """Bring everything to the disk; may be called again, without effect."""
        if not self._file.closed:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())


class EventFiles:
    """The event files of one training run: one a TensorBoard run, opened at its first event.

    When one can be written no more, a RuntimeWarning tells so, all are closed and nothing is written again.
    """

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self._files: dict[str, EventFile] = {}
        self._gave_up = False

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by tag, all in one event; nothing where there are none."""
        if values:
            self._summary(run, step, [summary_pb2.Summary.Value(tag=tag, simple_value=values[tag]) for tag in values])

    def histogram(self, run: str, step: int, tag: str, array: Any) -> None:
        """Write the histogram of an array; nothing where it has no finite number."""
        made = histogram(array)
        if made is not None:
            message = summary_pb2.HistogramProto(
                min=made.minimum,
                max=made.maximum,
                num=made.size,
                sum=made.total,
                sum_squares=made.squares,
                bucket_limit=made.limits.tolist(),
                bucket=made.counts.tolist(),
            )
            self._summary(run, step, [summary_pb2.Summary.Value(tag=tag, histo=message)])

    def image(self, run: str, step: int, tag: str, array: Any) -> None:
        """Write the picture of a weight; nothing where there is nothing to see."""
        made = picture(array)
        if made is not None:
            message = summary_pb2.Summary.Image(
                height=made.height, width=made.width, colorspace=3, encoded_image_string=made.png
            )
            self._summary(run, step, [summary_pb2.Summary.Value(tag=tag, image=message)])

    def graph(self, run: str, nodes: Iterable[Node]) -> None:
        """Write a graph."""
        graph = graph_pb2.GraphDef()
        graph.versions.producer = 22  # TensorBoard takes a graph without a version for an ancient one
        for each in nodes:
            node = graph.node.add(name=each.name, op=each.kind, input=each.inputs)
            for name, value in each.attributes:
                node.attr[name].s = value.encode()
        self._write(run, graph_def=graph.SerializeToString())

    def flush(self) -> None:
        """Let a running TensorBoard see everything."""
        with self._giving_up():
            for file in self._files.values():
                file.flush()

    def close(self) -> None:
        """Close every file; may be called again, without effect."""
        with self._giving_up(), ExitStack() as stack:
            for file in self._files.values():
                stack.callback(file.close)
            self._files = {}

    def _summary(self, run: str, step: int, values: Sequence[Any]) -> None:
        self._write(run, step=step, summary=summary_pb2.Summary(value=values))

    def _write(self, run: str, **content: Any) -> None:
        with self._giving_up():
            if self._gave_up:
                return
            if run not in self._files:
                self._files[run] = EventFile(self.log_dir / run)
            self._files[run].write(**content)

    @contextmanager
    def _giving_up(self) -> Generator[None]:
        """Training is worth more than its pictures: what cannot be written ends the writing, not the run."""
        try:
            yield
        except OSError as error:
            self._gave_up = True
            for file in self._files.values():
                with suppress(OSError):
                    file.close()
            self._files = {}
            warnings.warn(
                f"TensorBoard: {self.log_dir} gets nothing more from this run, which goes on: {error}",
                RuntimeWarning,
                stacklevel=3,
            )


def _new(directory: Path, stem: str) -> BinaryIO:
    for number in count():
        try:
            return (directory / f"{stem}.{number}").open("xb")
        except FileExistsError:  # a run that began within the same second
            continue
    raise AssertionError
