"""A full disk or an invalid path costs only the new checkpoint."""

import ctypes
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainbus import CheckpointError, Run
from trainbus.checkpoints import commit, manifest_of, read
from trainbus.plugins import ModelCheckpoint
from trainbus.resume import end_record
from trainbus.storage.directory_lock import LOCK

from .listing import without_history
from .subjects import Kind, number_in

InChild = Callable[[Callable[[], None]], int]
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def save(kind: Kind, path: Path, number: int, mishap: Callable[[], object] = lambda: None) -> None:
    """Train for one epoch that ends with a save; something goes wrong meanwhile."""
    with Run(kind.subject, ModelCheckpoint(str(path), save_weights_only=kind.weights_only), verbose=0) as run:
        for _ in run.epochs(number + 1, initial_epoch=number):
            kind.carry(number)
            run.log(loss=0.0)
            mishap()


def left_in(directory: str = ".") -> list[str]:
    """Everything but the lock, the journal, the history and the end record."""
    return sorted(set(without_history(os.listdir(directory))) - {LOCK, "journal.jsonl", end_record.NAME})


@pytest.mark.covering(1)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_file_too_large_for_the_disk_leaves_the_old_one_complete(kind: Kind, share: float, in_child: InChild) -> None:
    """Wherever the disk ends, the error names the path, the old one is complete and nothing else is left."""
    path = Path(f"best{kind.suffix}")
    save(kind, path, 1)
    limit = int(path.stat().st_size * share)

    def fill() -> None:
        with pytest.raises(CheckpointError, match=rf"best{kind.suffix}.* was not written"):
            save(kind, path, 2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))

    assert in_child(fill) == 0
    assert number_in(kind, path) == read(path).epoch == 1
    assert left_in() == [path.name, manifest_of(path).name]
    save(kind, path, 3)
    assert number_in(kind, path) == read(path).epoch == 3


def test_no_room_for_the_manifest_leaves_the_old_one_complete(in_child: InChild) -> None:
    """If the payload fits and its manifest does not, the payload is not published either."""
    path = Path("best.bin")
    commit(path, lambda staged: staged.write_text("old"), epoch=1, step=1)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        with pytest.raises(CheckpointError, match=r"best\.bin"):
            commit(path, lambda staged: staged.write_text("new"), epoch=2, step=2)

    assert in_child(fill) == 0
    assert (path.read_text(), read(path).epoch) == ("old", 1)
    assert sorted(os.listdir()) == ["best.bin", "trainbus.best.bin.json"]


def test_a_directory_that_was_removed_is_made_again(kind: Kind) -> None:
    """Between two saves somebody removes the directory: the second save makes it again."""
    path = Path(f"runs/best{kind.suffix}")
    save(kind, path, 1)

    save(kind, path, 2, lambda: shutil.rmtree("runs"))
    assert number_in(kind, path) == read(path).epoch == 2


def test_a_path_that_becomes_a_directory_is_left_alone(kind: Kind) -> None:
    """A directory at the path, full or empty, is never replaced; the error says what it is."""
    path = Path(f"best{kind.suffix}")

    def occupy() -> None:
        path.unlink()
        path.mkdir()
        (path / "precious").touch()

    save(kind, path, 1)
    with pytest.raises(CheckpointError, match=r"best.* is a directory"):
        save(kind, path, 2, occupy)

    assert os.listdir(path) == ["precious"]


def test_a_directory_that_becomes_a_file_is_left_alone(kind: Kind) -> None:
    """If the directory cannot be created or written, the error names the checkpoint."""

    def occupy() -> None:
        shutil.rmtree("runs", ignore_errors=True)
        Path("runs").write_text("precious")

    with pytest.raises(CheckpointError, match=rf"runs/best{kind.suffix}"):
        save(kind, Path(f"runs/best{kind.suffix}"), 1, occupy)
    assert Path("runs").read_text() == "precious"


def give_up_root() -> None:
    """Give up the capabilities by which root ignores permissions."""
    libc = ctypes.CDLL(None, use_errno=True)
    version_3, this_process = 0x20080522, 0
    assert libc.capset((ctypes.c_uint32 * 2)(version_3, this_process), (ctypes.c_uint32 * 6)()) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="capabilities are Linux's")
def test_a_directory_without_permission_is_left_alone(kind: Kind, in_child: InChild) -> None:
    """If no file may be created any more, the old one stays complete and the error names it."""
    path = Path(f"runs/best{kind.suffix}")
    save(kind, path, 1)

    def lose_permission() -> None:
        path.parent.chmod(0o500)
        give_up_root()

    def refused() -> None:
        with pytest.raises(CheckpointError, match=rf"runs/best{kind.suffix}.*[Pp]ermission"):
            save(kind, path, 2, lose_permission)

    assert in_child(refused) == 0
    path.parent.chmod(0o700)
    assert number_in(kind, path) == read(path).epoch == 1
    assert left_in("runs") == [path.name, manifest_of(path).name]


def test_no_checkpoint_is_staged_elsewhere(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staging needs no TMPDIR, so none on another file system can turn the rename into a copy."""
    path = Path(f"best{kind.suffix}")
    # Keras makes a directory for assets there, and wants to be able to
    elsewhere = Path.cwd() / "elsewhere" if kind.suffix == ".keras" else Path("/nowhere")
    if kind.suffix == ".keras":
        elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    renamed: list[tuple[Path, Path]] = []
    replace = os.replace

    def noted(source: str, target: str) -> None:
        renamed.append((Path(source).absolute(), Path(target).absolute()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    save(kind, path, 1)

    assert read(path).epoch == 1
    assert path.absolute() in [target for _, target in renamed]
    assert all(target.parent in source.parents for source, target in renamed)
    assert not elsewhere.exists() or not os.listdir(elsewhere)
