"""An empty file named "stop" in a directory of the run ends the run, and is removed."""

import gc
import itertools
import threading
from pathlib import Path

import fsspec
import pytest

from trainbus import Run
from trainbus.checkpoints import newest_intact
from trainbus.engine.stopping import stop_file as module
from trainbus.engine.stopping.stop_file import NAME, StopFile
from trainbus.plugins import ModelCheckpoint
from trainbus.storage.paths import location
from trainbus.testing import LineSubject


@pytest.mark.parametrize("endless", [True, False], ids=["in an epoch", "at its end"])
def test_a_stop_file_ends_the_run_as_ctrl_c_does_and_is_removed(tmp_path: Path, *, endless: bool) -> None:
    stop = tmp_path / "stop"
    with pytest.raises(KeyboardInterrupt), Run(LineSubject(), ModelCheckpoint(tmp_path / "m"), verbose=0) as run:
        for _ in run.epochs(3):
            stop.touch()
            for _ in run.batches(itertools.count() if endless else range(2)):
                pass

    found = newest_intact(tmp_path)[0]
    assert found is not None
    assert found.path.name == "signal.npz"
    assert run.result.reason == f"{stop} asked for it"
    assert not stop.exists()


def test_a_stop_file_from_before_the_run_is_removed_without_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stop").touch()
    with Run(LineSubject(), ModelCheckpoint(tmp_path / "m"), verbose=0) as run:
        list(run.epochs(2))

    assert run.result.epochs == 2
    assert "existed before the run began; it is removed and does not stop the run" in caplog.text
    assert not (tmp_path / "stop").exists()


def test_a_file_of_that_name_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("words to leave out")
    with Run(LineSubject(), ModelCheckpoint(tmp_path / "m"), verbose=0) as run:
        list(run.epochs(2))

    assert run.result.epochs == 2
    assert (tmp_path / "stop").exists()


# --- a stop file without a run


def watching() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "trainbus-stop-file"]


def test_a_look_asks_once_for_each_file_in_any_of_the_directories() -> None:
    """Each is removed, and named by its path."""
    directories = [Path("one"), Path("two")]
    for directory in directories:
        directory.mkdir()
    asked: list[str] = []
    file = StopFile(directories, asked.append)
    file.look()
    for directory in directories:
        (directory / NAME).touch()
    file.look()
    file.look()
    file.close()

    assert sorted(set(asked)) == ["one/stop", "two/stop"]
    assert len(asked) == 2
    assert not any((directory / NAME).exists() for directory in directories)


def test_a_thread_looks_until_the_file_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while a batch takes long; a stop file that comes later stays."""
    monkeypatch.setattr(module, "SECONDS", 0.01)
    asked = threading.Event()
    file = StopFile([Path()], lambda _: asked.set())
    assert watching()
    Path(NAME).touch()
    assert asked.wait(10)
    file.close()
    while watching():
        threading.Event().wait(0.01)
    Path(NAME).touch()
    threading.Event().wait(0.05)

    assert Path(NAME).exists()


def test_a_thread_ends_with_a_run_that_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps nothing alive; without directories there is none."""
    monkeypatch.setattr(module, "SECONDS", 0.01)
    StopFile([], print).close()
    assert not watching()
    file = StopFile([Path()], print)
    assert watching()
    del file
    gc.collect()
    for _ in range(1000):
        if not watching():
            return
        threading.Event().wait(0.01)
    pytest.fail("the thread still looks")


def test_a_store_is_looked_into_rarely() -> None:
    """Each look is a request; at the end of an epoch there is none."""
    asked: list[str] = []
    file = StopFile([location("memory://stops")], asked.append)
    fsspec.filesystem("memory").pipe_file("/stops/stop", b"")
    file.look()
    assert asked == []
    file.look(remote=True)
    file.close()

    assert asked == ["memory://stops/stop"]
