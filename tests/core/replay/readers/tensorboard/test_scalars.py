"""The reader of the numbers in event files."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX import SummaryWriter

from trainbus import SettingsError
from trainbus.plugins.tensorboard.writer.event_writer import EventWriter
from trainbus.plugins.tensorboard.writer.summaries import histograms, text
from trainbus.replay.readers.tensorboard.scalars import read_scalars

from ...streams import (
    assert_reads_as_tensorboard,
    event,
    event_pb2,
    framed,
    read,
    sample,
    scalar,
    summary_pb2,
    tensor,
    write,
)

NAMES = st.text("abc/_ü", min_size=1, max_size=12)
STEPS = st.integers(0, 300) | st.integers(-(2**63), 2**63 - 1)
VALUES = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
TIMES = st.floats(allow_nan=False)
STREAMS = st.lists(st.tuples(NAMES, STEPS, TIMES, VALUES), max_size=60)


def same(found, expected) -> bool:
    """Whether two lists of numbers are equal, NaN for NaN."""
    return repr(list(found)) == repr(list(expected))


@given(STREAMS, st.lists(st.booleans(), min_size=60, max_size=60))
def test_any_stream_is_read_back(stream, as_tensors):
    """Numbers of any tag, step, time and value are read back in order, however each was written."""
    records = [
        event(step, time, summary=summary_pb2.Summary(value=[(tensor if new else scalar)(tag, value)]))
        for (tag, step, time, value), new in zip(stream, as_tensors, strict=False)
    ]
    with tempfile.TemporaryDirectory() as folder:
        found, notes = read(write(Path(folder, "events"), records))

    assert same(found, stream)
    assert notes == []


@given(st.lists(st.tuples(st.sampled_from(["loss", "acc/val", "x"]), st.integers(0, 2**40), VALUES), max_size=40))
def test_a_stream_of_tensorboardx_is_read_back(stream):
    """A random stream through the real writer is read back in float32."""
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            for tag, step, value in stream:
                writer.add_scalar(tag, value, step, walltime=float(step))
        (path,) = Path(folder).iterdir()
        found, _ = read(path)

    assert same(found, [(tag, step, float(step), float(np.float32(value))) for tag, step, value in stream])


def test_files_of_trainbus_are_read_as_by_tensorboard(tmp_path: Path):
    """Many numbers in an event, between texts and histograms, are those that the EventAccumulator reads."""
    writer = EventWriter(tmp_path, "line", pytest.fail)
    values = np.random.default_rng(0).normal(size=(30, 40))
    for step, row in enumerate(values):
        writer.scalars(".", step, {f"metric_{number}": value for number, value in enumerate(row)})
        writer.put(".", step, lambda array: histograms("weights", array), row)
        writer.put(".", step, lambda words: text("words", words), "words")
    writer.close()

    assert_reads_as_tensorboard(tmp_path)
    assert len({tag for tag, *_ in read(next(tmp_path.iterdir()))[0]}) == 40


def test_records_of_another_kind_are_refused(tmp_path: Path):
    """A file of other records, such as TFRecord examples, is distinguished from a damaged one."""
    path = tmp_path / "events"
    path.write_bytes(framed(b"\xff" * 30))
    with pytest.raises(SettingsError, match="not TensorBoard events"):
        read(path)


def test_a_restart_makes_later_steps_void(tmp_path: Path):
    """``SessionLog.START`` is returned with the count of numbers before it and its step."""
    start = event(2, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
    path = write(tmp_path / "events", [*sample(), start, *sample()])

    assert read_scalars(path, []).restarts == ((len(sample()), 2),)
