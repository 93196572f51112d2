"""A disk that is really full, and one that really loses unsynced data; needs permission to mount file systems."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainbus import Run, journal
from trainbus.checkpoints import commit, manifest_of, newest_intact, read
from trainbus.plugins import ModelCheckpoint
from trainbus.storage.directory_lock import LOCK

from .kills import BETWEEN
from .listing import without_history
from .save_progress import SaveProgress
from .subjects import KINDS, Kind, number_in

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

CUTS = 3
"""Power cuts of each format."""


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Mount a file system at ``place`` by ``mount`` with these options."""
    place.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(["mount", *options, place], capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip() or done.stdout.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system in memory with room for 4 MB."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=4m", "none") as place:
        yield place


def fill(disk: Path, but: int) -> None:
    """Fill the disk but for this many bytes."""
    with (disk / "others").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(max(file.tell() - but, 0))


@pytest.mark.parametrize("share", [pytest.param(0.0, marks=pytest.mark.exhaustive), 0.5])
def test_a_full_disk_costs_the_new_checkpoint_only_and_the_next_better_one_is_saved(
    kind: Kind, share: float, small: Path
) -> None:
    """While others fill the disk the old best stays complete with its plugin state, and nothing of the new one is left.

    The run reports the failure and continues; the best is the one on disk, so that the next better one is saved.
    """
    path = small / "runs" / f"best{kind.suffix}"
    saver = ModelCheckpoint(
        str(path), monitor="loss", save_best_only=True, save_weights_only=kind.weights_only, on_error="warn", save_on=()
    )
    with Run(kind.subject, saver, verbose=0) as run:
        for epoch in run.epochs(4):
            if epoch == 1:
                run._life.executor.writer.wait()
                fill(small, int(path.stat().st_size * share))
            if epoch == 2:
                run._life.executor.writer.wait()
                there = {LOCK, journal.NAME, path.name, manifest_of(path).name}
                assert set(without_history(os.listdir(path.parent))) == there
                assert number_in(kind, path) == read(path).epoch == 0
                (small / "others").unlink()
            kind.carry(epoch)
            run.log(loss=[3.0, 1.0, 2.0, 2.5][epoch])

    assert number_in(kind, path) == read(path).epoch == 2
    assert [(failure.plugin, str(path) in str(failure)) for failure in run.failures] == [("ModelCheckpoint", True)]
    assert list(run.state.files) == [path]


@pytest.fixture
def journalled(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system with a journal; its ``image``, next to it, holds what has reached the disk."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(24 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as place:
        yield place


def cut(disk: Path, work: Callable[[SaveProgress], None]) -> tuple[int, int, Path]:
    """Run another process and cut the power at a random time; return what was saved and what was being saved.

    Also return a copy of the disk's image at that time.
    """
    progress = SaveProgress()
    child = os.fork()
    if child == 0:
        try:
            work(progress)
        finally:
            os._exit(1)
    began = time.perf_counter()
    for _ in range(2):
        os.read(progress.done, 1)
    time.sleep(random.uniform(0, time.perf_counter() - began))
    os.kill(child, signal.SIGSTOP)
    os.waitid(os.P_PID, child, os.WSTOPPED)
    left = disk.with_name("left")
    shutil.copyfile(disk.with_name("image"), left)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    saved, going = progress.read()
    progress.close()
    return saved, going, left


def save_on_and_on(
    kind: Kind, path: Path, first: int, progress: SaveProgress, put: Callable[[Path, int], object]
) -> None:
    """Save one number after the other, without a pause."""
    for number in range(first, first + BETWEEN):
        kind.carry(number)
        progress.begin(number)
        put(path, number)
        progress.end(number)


@pytest.mark.parametrize(
    "name", ["line", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("torch", "weights.h5"))]
)
def test_a_power_cut_loses_no_checkpoint_that_was_saved(name: str, journalled: Path) -> None:
    """After the journal is replayed, the last saved checkpoint exists, or the one being saved, complete."""
    kind = KINDS[name](2_000)
    path = journalled / "runs" / f"best{kind.suffix}"

    def put(path: Path, number: int) -> None:
        commit(path, kind.save, epoch=number, step=number)

    for trial in range(CUTS):
        first = trial * BETWEEN + 1
        saved, going, left = cut(journalled, lambda progress: save_on_and_on(kind, path, first, progress, put))  # noqa: B023
        with mounted(journalled.with_name("found"), "-o", "loop", str(left)) as found:
            there = found / path.relative_to(journalled)
            newest, passed_over = newest_intact(there.parent)
            assert newest is not None
            assert (newest.path, passed_over) == (there, [])
            assert newest.epoch == number_in(kind, there)
            assert newest.epoch in (saved, going)


def test_the_disk_is_one_that_loses_what_was_not_synced(journalled: Path) -> None:
    """A file saved by a mere rename is lost, so that the cuts above prove something."""
    kind = KINDS["line"](2_000)
    path = journalled / "best.npz"

    def put(path: Path, number: int) -> None:
        staged = path.with_name(f"staged-{number}.npz")
        kind.save(staged)
        staged.replace(path)

    saved, _, left = cut(journalled, lambda progress: save_on_and_on(kind, path, 1, progress, put))
    with mounted(journalled.with_name("found"), "-o", "loop", str(left)) as found:
        there = found / path.name
        assert saved >= 2
        assert not there.exists() or number_in(kind, there) != saved
