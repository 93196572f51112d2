"""A FIFO, a socket, a device or a link to itself at any path of a run never hangs it and never raises anything raw."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import Run, TrainbusError, journal
from trainbus.checkpoints import commit, inspect_paths, newest_intact, read
from trainbus.cli import main
from trainbus.plugins import Journal, ModelCheckpoint, TensorBoard
from trainbus.storage.atomic_file import copy, digest_of, sync
from trainbus.storage.backend import backend_for
from trainbus.storage.file_kind import open_regular
from trainbus.testing import LineSubject

PLACES = [
    "run/m-2.npz",
    "run/trainbus.m-2.npz.json",
    "run/journal.jsonl",
    "run/.trainbus.lock",
    "run/stop",
    "run/.trainbus-end.json",
    "run/.trainbus-staged-abc.npz",
    "run/.trainbus-slot-abc.npz",
    "run/m-3.npz",
    "run/trainbus.m-3.npz.json",
    "logs",
    "logs/train",
    "logs/train/events.out.tfevents.1.host.1.abc",
    "logs/.trainbus.tensorboard.lock",
]
KINDS = ["FIFO", "socket", "device", "loop", "directory"]


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """An opening that waits for another process ends with an error that nothing else raises."""

    def give_up(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def plant(path: Path, kind: str) -> None:
    """Put a special file in place of whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
        os.chdir(here)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)


def train(epochs: int, callbacks: Any, resume: Any = None) -> Run:
    subject = LineSubject()
    with Run(subject, callbacks, verbose=0, resume=resume) as run:
        for _ in run.epochs(epochs):
            for x in run.batches([0.0, 1.0]):
                run.log(loss=subject.train(np.array([x]), np.array([1.0])))
    return run


@pytest.mark.parametrize("kind", ["FIFO", *(pytest.param(each, marks=pytest.mark.exhaustive) for each in KINDS[1:])])
@pytest.mark.parametrize("place", [each for each in PLACES if not each.startswith("logs")])
def test_a_run_and_its_commands_end(place: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each one works, passes over the file, or raises one error of one line."""
    callbacks = [ModelCheckpoint("run/m-{epoch}")]
    train(2, callbacks)
    Path("run/.trainbus-end.json").unlink()
    plant(Path(place), kind)

    for arguments in (
        ["explain", "run"],
        ["checkpoints", "run"],
        ["checkpoints", "run", "--verify"],
        ["replay", "run"],
    ):
        with suppress(SystemExit):
            main(arguments)
        assert "Traceback" not in capsys.readouterr().err
    for resume in ("auto", "run/m-2.npz", "run", None):
        with suppress(TrainbusError):
            train(3, callbacks, resume)


@pytest.mark.parametrize("kind", ["FIFO", *(pytest.param(each, marks=pytest.mark.exhaustive) for each in KINDS[1:])])
@pytest.mark.parametrize("place", [each for each in PLACES if each.startswith("logs")])
def test_a_run_with_charts_ends(place: str, kind: str) -> None:
    """It is refused by an error of trainbus, or trains without its charts."""
    plant(Path(place), kind)

    with suppress(TrainbusError):
        assert train(2, [TensorBoard("logs")]).result.epochs == 2


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_opened(kind: str) -> None:
    plant(Path("it"), kind)

    for opened in (
        open_regular,
        digest_of,
        lambda path: copy(path, Path("copy")),
        lambda path: backend_for(path).read(),
        lambda path: backend_for(path).open().__enter__(),
    ):
        with pytest.raises(OSError, match="it"):
            opened(Path("it"))
    if kind != "directory":
        with pytest.raises(OSError, match=r"."):
            sync(Path("it"))
    with pytest.raises(TrainbusError):
        read(Path("it"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_is_read_and_written_only_if_it_is_regular(kind: str) -> None:
    """/dev/null, which keeps nothing on purpose, is the one exception for writing."""
    plant(Path("it"), kind)

    with pytest.raises(TrainbusError, match="it"):
        journal.read(Path("it"))
    with pytest.raises(TrainbusError, match="it"):
        train(1, [Journal("it")])


def test_a_regular_file_is_opened_through_a_link() -> None:
    Path("file").write_text("weights")
    Path("link").symlink_to("file")

    with open_regular(Path("link")) as file:
        assert file.read() == b"weights"
        assert os.get_blocking(file.fileno())


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "loop"])
@pytest.mark.parametrize("part", ["index", "shards-1/0"])
def test_a_part_of_a_sharded_checkpoint_is_damage(kind: str, part: str) -> None:
    def write(staged: Path) -> None:
        (staged / "shards-1").mkdir()
        (staged / "index").write_text("index")
        (staged / "shards-1" / "0").write_text("weights")

    for step in (1, 2):
        commit(Path("run", f"{step}.dcp"), write, directory=True, epoch=0, step=step)
    plant(Path("run/2.dcp", part), kind)

    found, skipped = newest_intact(Path("run"))

    assert found is not None
    assert (found.step, [each.path.name for each in skipped]) == (1, ["2.dcp"])
    (info,) = inspect_paths([Path("run/2.dcp")], verify=True)
    assert info.flaw


@pytest.mark.parametrize("same", [True, False])
def test_two_links_are_two_checkpoints(same: bool) -> None:
    """A save replaces a link, so links to one file, or to themselves, are different paths."""
    Path("target.npz").write_text("precious")
    for name in ("a", "b"):
        Path(f"{name}.npz").symlink_to("target.npz" if same else f"{name}.npz")

    train(1, [ModelCheckpoint("a.npz"), ModelCheckpoint("b.npz")])

    assert Path("target.npz").read_text() == "precious"
    assert all(read(Path(f"{name}.npz")).epoch == 0 for name in ("a", "b"))


@pytest.mark.parametrize(
    "make", [lambda: ModelCheckpoint("real/a.npz"), lambda: ModelCheckpoint("./link/../link/a.npz")]
)
def test_two_paths_to_one_file_are_refused(make: Callable[[], ModelCheckpoint]) -> None:
    Path("real").mkdir()
    Path("link").symlink_to("real")

    with pytest.raises(TrainbusError, match="is listed twice with options of the same effect"):
        train(1, [ModelCheckpoint("link/a.npz"), make()])
    with pytest.raises(TrainbusError, match="two callbacks would write"):
        train(1, [ModelCheckpoint("link/a.npz", save_best_only=True), make()])
