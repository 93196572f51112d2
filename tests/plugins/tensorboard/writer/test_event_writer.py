"""Tests of the thread that writes TensorBoard's files."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins.tensorboard.writer import event_writer
from trainbus.plugins.tensorboard.writer.event_writer import EventWriter
from trainbus.plugins.tensorboard.writer.summaries import scalars as scalar_values

from ...event_readers import read, scalars
from ...full_disk import files_of_at_most


def refuse(lost: str, error: Exception) -> None:
    """Fail at any failure: none is expected."""
    raise AssertionError(f"{lost}: {error}")


@given(st.lists(st.tuples(st.sampled_from(["a", "b/c", "."]), st.floats(width=32, allow_nan=False)), max_size=60))
def test_queued_events_are_in_the_files_in_order(handed: list[tuple[str, float]]):
    """After close, each run has exactly the events that were queued for it, in the same order."""
    with tempfile.TemporaryDirectory() as folder:
        writer = EventWriter(Path(folder), "line", refuse)
        for step, (run, value) in enumerate(handed):
            writer.scalars(run, step, {"tag": value})
        writer.close()
        found = {run: [(e.step, e.value) for e in reader.Scalars("tag")] for run, reader in read(folder).items()}
        expected: dict[str, list[tuple[int, float]]] = {}
        for step, (run, value) in enumerate(handed):
            expected.setdefault(str(Path(run)), []).append((step, value))
        assert found == expected


@pytest.mark.exhaustive
def test_flushed_events_survive_sigkill(tmp_path: Path):
    """All flushed events of a killed process are on disk, and each event older than a second."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from trainbus.plugins.tensorboard.writer.event_writer import EventWriter\n"
        "writer = EventWriter(Path(sys.argv[1]), 'line', print)\n"
        "for step in range(1000): writer.scalars('.', step, {'tag': 1.0})\n"
        "writer.flush(); print('flushed', flush=True)\n"
        "writer.scalars('.', 1000, {'tag': 1.0})\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 60
    assert {step for *_, step in scalars(tmp_path)} >= set(range(1000))
    while len(scalars(tmp_path)) < 1001:  # without another flush
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(scalars(tmp_path)) == 1001


@pytest.mark.exhaustive
def test_the_end_of_the_interpreter_closes_the_files(tmp_path: Path):
    """A program that ends without closing, in order or by an exception, loses nothing."""
    code = (
        "import sys; from pathlib import Path\n"
        "from trainbus.plugins.tensorboard.writer.event_writer import EventWriter\n"
        "writer = EventWriter(Path(sys.argv[1]), 'line', print)\n"
        "for step in range(100): writer.scalars('.', step, {'tag': 1.0})\n"
        "raise SystemExit(int(sys.argv[2]))"
    )
    started = {
        number: subprocess.Popen([sys.executable, "-c", code, str(tmp_path / str(number)), str(number)])
        for number in (0, 3)
    }
    for number, process in started.items():
        assert process.wait() == number
        assert len(scalars(tmp_path / str(number))) == 100


def test_a_forked_process_writes_nothing(tmp_path: Path):
    """A child inherits the writer, and neither writes to the files nor waits for a thread that it does not have."""
    writer = EventWriter(tmp_path, "line", refuse)
    writer.scalars(".", 0, {"tag": 1.0})
    child = os.fork()
    if not child:
        for step in range(20_000):
            writer.scalars(".", step, {"child": 1.0})
        writer.flush()
        writer.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    writer.scalars(".", 1, {"tag": 2.0})
    writer.close()
    assert scalars(tmp_path) == {(".", "tag", 0): 1.0, (".", "tag", 1): 2.0}


def test_a_training_that_is_faster_than_the_disk_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The queue never holds more events than allowed, nor more bytes than that plus one array."""
    monkeypatch.setattr(event_writer, "MAX_EVENTS", 50)
    monkeypatch.setattr(event_writer, "MAX_BYTES", 1000)
    writer, most, bytes_waiting, lock = EventWriter(tmp_path, "line", refuse), 0, [0], threading.Lock()
    largest = 0

    def make(size: int) -> list[Any]:
        with lock:
            bytes_waiting[0] -= size
        return scalar_values({"tag": 1.0})

    for step in range(2000):
        size = 300 * (step % 3 == 0)
        with lock:
            bytes_waiting[0] += size
            largest = max(largest, bytes_waiting[0])
        writer.put(".", step, make, size, size)
        most = max(most, len(writer._queue))
    writer.close()
    assert most <= 50
    assert largest <= 1000 + 2 * 300  # one is being made
    assert len(scalars(tmp_path)) == 2000


Notes = list[tuple[str, Exception]]


@pytest.fixture
def notes() -> Notes:
    """Return the failures that a writer has recorded."""
    return []


def noting(folder: Path, notes: Notes) -> EventWriter:
    """A writer that records its failures."""
    return EventWriter(folder, "line", lambda lost, error: notes.append((lost, error)))


def test_an_event_that_cannot_be_made_is_reported_once_and_the_others_are_written(tmp_path: Path, notes: Notes):
    """An error while an event is made loses this event; each kind of error is reported once, with the first tag."""

    def make(tag: str, step: int) -> list[Any]:
        if step % 2:
            raise ArithmeticError("no")
        return scalar_values({tag: float(step)})

    writer = noting(tmp_path, notes)
    for step in range(10):
        writer.put(".", step, partial(make, f"tag/{step % 4}"), step)
    writer.close()
    assert [(lost, repr(error)) for lost, error in notes] == [("no tag/1", "ArithmeticError('no')")]
    assert {step for *_, step in scalars(tmp_path)} == {0, 2, 4, 6, 8}


def test_a_directory_that_cannot_be_created_blocks_nothing_and_lost_events_are_counted(tmp_path: Path, notes: Notes):
    """Writing, flushing and closing return; one failure reports the start and one the number of lost events."""
    folder = tmp_path / "file"
    folder.touch()
    writer = noting(folder, notes)
    for step in range(30_000):
        writer.scalars("run", step, {"tag": 1.0})
    writer.flush()
    writer.close()
    writer.close()
    expected = [f"cannot write to {folder}", f"30,000 events of this run are not in {folder}"]
    assert [lost for lost, _ in notes] == expected
    assert all(isinstance(error, NotADirectoryError) for _, error in notes)


def test_queued_events_are_written_when_the_disk_works_again(tmp_path: Path, notes: Notes):
    """A failure is reported when it begins; if the queue holds all events, none is lost, and no count follows."""
    folder = tmp_path / "runs"
    folder.touch()
    writer = noting(folder, notes)
    for step in range(1000):
        writer.scalars(".", step, {"tag": float(step)})
    writer.flush()
    assert [lost for lost, _ in notes] == [f"cannot write to {folder}"]
    folder.unlink()
    writer.close()
    assert scalars(folder) == {(".", "tag", step): float(step) for step in range(1000)}
    assert len(notes) == 1


@pytest.mark.parametrize("freed", [True, False])
@pytest.mark.parametrize("size", [30, 7000])
def test_a_full_disk_loses_only_events_that_do_not_fit(tmp_path: Path, notes: Notes, size: int, freed: bool):
    """Complete records stay; each is in a file or counted as missing; with room again none is missing."""
    writer = noting(tmp_path, notes)
    with files_of_at_most(size):
        for step in range(500):
            writer.scalars(".", step, {"tag": 1.0})
            if step % 100 == 0:
                writer.flush()
        if not freed:
            writer.close()
    writer.close()
    shown = sorted(step for *_, step in scalars(tmp_path))
    assert shown == list(range(500 if freed else len(shown)))
    expected = [f"cannot write to {tmp_path}", f"{500 - len(shown)} events of this run are not in {tmp_path}"]
    assert [lost for lost, _ in notes] == expected[: 1 if freed else 2]
    assert {getattr(error, "errno", None) for _, error in notes} == {errno.EFBIG}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer with a small queue and a short timeout."""
    monkeypatch.setattr(event_writer, "MAX_EVENTS", 50)
    monkeypatch.setattr(event_writer, "_WAKE_EVENTS", 10)
    monkeypatch.setattr(event_writer, "PATIENCE_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_does_not_respond_does_not_block_the_training(tmp_path: Path, notes: Notes):
    """While a thread is blocked in a system call training continues; written plus lost events are all events.

    If the disk responds again, the queued events are written.
    """
    silent = tmp_path / "silent"
    os.mkfifo(silent)

    def hang(step: int) -> list[Any]:
        silent.open("w").close()  # blocks until another thread reads
        return scalar_values({"tag": float(step)})

    writer = noting(tmp_path, notes)
    writer.put(".", 0, hang, 0)
    for step in range(1, 200):
        writer.scalars(".", step, {"tag": float(step)})
        if step == 120:
            writer.flush()
    assert [(lost, str(error)) for lost, error in notes] == [
        (f"cannot write to {tmp_path}", "nothing could be written for 0.05 seconds")
    ]
    dropped = writer.dropped
    assert 0 < dropped == 200 - len(writer._queue)
    silent.open().close()
    while writer._queue:  # it responds
        writer.flush()
    writer.scalars(".", 200, {"tag": 200.0})
    writer.close()
    assert sorted(step for *_, step in scalars(tmp_path)) == [*range(200 - dropped), 200]
    assert [lost for lost, _ in notes][1:] == [f"{dropped} events of this run are not in {tmp_path}"]


@pytest.mark.usefixtures("impatient")
def test_close_does_not_wait_for_a_disk_that_never_responds(tmp_path: Path, notes: Notes):
    """Close returns, and counts all events that the thread has not written as lost."""
    answers = threading.Event()
    writer = noting(tmp_path, notes)
    writer.put(".", 0, lambda _: answers.wait() and [], None)
    for step in range(20):
        writer.scalars(".", step, {"tag": 1.0})
    writer.close()
    answers.set()
    writer._thread.join()
    assert [lost for lost, _ in notes] == [
        f"cannot write to {tmp_path}",
        f"21 events of this run are not in {tmp_path}",
    ]
    assert scalars(tmp_path) == {}


def test_a_thread_that_ends_does_not_block_the_training(tmp_path: Path, notes: Notes):
    """The events before its end are in the file, and later ones are counted as lost."""

    def die(_: None) -> list[Any]:
        raise SystemExit

    writer = noting(tmp_path, notes)
    writer.scalars(".", 0, {"tag": 1.0})
    writer.put(".", 1, die, None)
    writer.flush()
    for step in range(2, 1000):
        assert not writer.put(".", step, scalar_values, {"tag": 1.0})
    writer.close()
    assert [(lost, str(error)) for lost, error in notes] == [
        (f"cannot write to {tmp_path}", "the writing thread has ended: SystemExit()"),
        (f"999 events of this run are not in {tmp_path}", "the writing thread has ended: SystemExit()"),
    ]
    assert set(scalars(tmp_path)) == {(".", "tag", 0)}
