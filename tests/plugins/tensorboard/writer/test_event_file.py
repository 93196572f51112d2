"""Tests of TensorBoard's event files."""

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins.tensorboard.writer.event_file import EventFile, truncate_event_files
from trainbus.plugins.tensorboard.writer.summaries import scalars as scalar_values

from ...event_readers import read
from .event_files import tfevents


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.data())
def test_a_truncated_file_loses_only_its_last_events(groups: list[int], data: st.DataObject):
    """A file that ends anywhere, as a power failure leaves it, gives the first events of those that were written."""
    with tempfile.TemporaryDirectory() as folder:
        file, step, flushed = EventFile(Path(folder), "line"), 0, {0: 0}
        for group in groups:
            for _ in range(group):
                file.write(1.0, step=step, summary=_summary(step))
                step += 1
            file.flush()
            flushed[file.size] = step
        file.close()
        size = data.draw(st.integers(0, file.size))
        os.truncate(file.path, size)
        reader = read(folder)["."]
        found = [e.step for e in reader.Scalars("tag")] if "tag" in reader.Tags()["scalars"] else []
        assert found == list(range(len(found)))
        assert len(found) >= max(count for end, count in flushed.items() if end <= size)


def _summary(step: int) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary  # noqa: PLC0415

    return Summary(value=scalar_values({"tag": float(step)}))


def test_the_newest_file_is_read_last(tmp_path: Path):
    """However fast files follow each other, and whatever the clock, TensorBoard reads them in order."""
    (tmp_path / "events.out.tfevents.4102444800.of-the-year-2100.1.line").touch()
    files = [EventFile(tmp_path, "line") for _ in range(5)]
    assert tfevents(tmp_path)[1:] == [file.path for file in files]
    for file in files:
        file.close()


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.data())
def test_truncated_files_have_their_earlier_events(parts: list[int], data: st.DataObject):
    """All that was written after a step is removed, in old files and new; the events of other writers stay."""
    parts_then = data.draw(st.integers(0, len(parts)))
    with tempfile.TemporaryDirectory() as folder:
        other = EventFile(Path(folder), "other")
        step, then, sizes = 0, 0, dict[Path, int]()
        for number, part in enumerate(parts):
            file = EventFile(Path(folder), "line")
            for _ in range(part):
                file.write(1.0, step=step, summary=_summary(step))
                step += 1
                file.flush()
                if number < parts_then:
                    sizes[file.path], then = file.size, step
            file.close()
        other.write(1.0, step=0, summary=_summary(0))
        other.close()
        for _ in range(2):  # a second time changes nothing
            truncate_event_files([Path(folder)], "line", sizes)
            mine = [path for path in tfevents(folder) if path.name.endswith(".line")]
            assert set(mine) == set(sizes)
            assert [e.step for e in read(folder)["."].Scalars("tag")] == [0, *range(then)]
            assert other.path.stat().st_size == other.size
