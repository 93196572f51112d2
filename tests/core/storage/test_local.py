"""The backend of this machine's disk: a path holds the old file or the new one, and links are not followed."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError
from trainbus.errors import DirectoryLocked
from trainbus.storage.atomic_file import STAGED, fill
from trainbus.storage.local import LocalBackend

from . import parts
from .dying import dying_at, with_room_for


@given(st.text(), st.integers(1, 7))
def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them(text: str, taken: int) -> None:
    path, real = Path("a.json"), os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:taken]))
        LocalBackend(path).replace(text)

    assert path.read_bytes() == text.encode()
    assert os.listdir() == ["a.json"]


def test_a_disk_that_loses_bytes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read back before it replaces another one."""
    LocalBackend(Path("a.json")).replace("old")
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data[:-1]) + b"?"))

    with pytest.raises(OSError, match="the file's content differs from what was written to it"):
        LocalBackend(Path("a.json")).replace("new")
    assert Path("a.json").read_text() == "old"
    assert os.listdir() == ["a.json"]


def test_a_death_at_any_call_leaves_the_old_text_or_the_new() -> None:
    """And at most one staged file, which the owner of the directory removes."""
    found = set()
    for step in count():
        path = Path(f"{step}/a.json")
        LocalBackend(path).replace("old")
        died = dying_at(step, lambda path=path: LocalBackend(path).replace("new"))
        found.add(path.read_text())
        LocalBackend(path.parent).remove_debris()
        assert LocalBackend(path.parent).list_names() == ["a.json"]
        if not died:
            break

    assert step >= 5
    assert found == {"old", "new"}


def test_a_full_disk_leaves_the_old_text() -> None:
    LocalBackend(Path("a.json")).replace("old")

    assert with_room_for(0, lambda: LocalBackend(Path("a.json")).replace("new")) == 1
    assert Path("a.json").read_text() == "old"
    assert os.listdir() == ["a.json"]


def test_a_new_file_is_private_to_its_writer_by_its_name_and_as_readable_as_any() -> None:
    """It has the suffix and the directory of the file to replace, and the rights that open() gives."""
    Path("plain").touch()
    files = [LocalBackend(Path("deep/run/best.weights.h5")).new_file() for _ in range(9)]

    assert len(set(files)) == 9
    for file in files:
        assert file.parent == Path("deep/run")
        assert file.name.startswith(STAGED)
        assert file.name.endswith(".weights.h5")
        assert file.stat().st_size == 0
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(Path("plain").stat().st_mode)


@pytest.mark.parametrize("change", [lambda path: path.new_file(), lambda path: path.replace("new")])
def test_a_directory_is_never_replaced(change: Callable[[LocalBackend], object]) -> None:
    Path("best").mkdir()

    with pytest.raises(IsADirectoryError, match="'best' is a directory; name a file in it"):
        change(LocalBackend(Path("best")))
    assert os.listdir() == ["best"]


def test_a_file_that_cannot_be_published_leaves_no_debris() -> None:
    backend = LocalBackend(Path("best"))
    staged = backend.new_file()
    Path("best").mkdir()

    with pytest.raises(IsADirectoryError):
        backend.publish(staged)
    assert os.listdir() == ["best"]


def test_a_link_is_replaced_and_removed_and_its_target_untouched() -> None:
    Path("victim").mkdir()
    Path("victim/file").write_text("precious")
    Path("file").symlink_to("victim/file")
    Path("directory").symlink_to("victim")

    LocalBackend(Path("file")).replace("new")
    LocalBackend(Path("directory")).remove()

    assert Path("victim/file").read_text() == "precious"
    assert Path("file").read_text() == "new"
    assert not Path("file").is_symlink()
    assert sorted(os.listdir()) == ["file", "victim"]


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_stays_when_the_first_is_replaced_and_removed(
    links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a file system without links, which gets a copy."""

    def refused(*_: object) -> None:
        raise PermissionError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    backend = LocalBackend(Path("best.pt"))
    backend.replace("old")
    backend.hard_link("kept.pt")
    assert Path("best.pt").samefile("kept.pt") == links
    backend.replace("new")
    assert Path("kept.pt").read_text() == "old"
    backend.remove()
    backend.remove()
    assert os.listdir() == ["kept.pt"]


def test_a_second_name_of_a_directory_has_all_of_its_parts() -> None:
    Path("best.dcp").mkdir()
    parts.fill(Path("best.dcp"), "old")
    before = {each.relative_to("best.dcp"): each.read_bytes() for each in Path("best.dcp").rglob("*") if each.is_file()}

    LocalBackend(Path("best.dcp")).hard_link("kept.dcp")
    LocalBackend(Path("best.dcp")).remove()

    assert os.listdir() == ["kept.dcp"]
    assert {path: Path("kept.dcp", path).read_bytes() for path in before} == before


def test_a_directory_with_other_files_is_not_removed() -> None:
    Path("mine").mkdir()
    Path("mine/one").touch()
    Path("mine/two").touch()

    with pytest.raises(CheckpointError, match="contains files that are not part of the checkpoint"):
        LocalBackend(Path("mine")).remove()
    assert sorted(os.listdir("mine")) == ["one", "two"]


def test_an_open_file_stays_as_it_was_when_another_replaces_it() -> None:
    backend = LocalBackend(Path("best.pt"))
    backend.replace("old")
    with backend.open() as opened:
        assert not opened.replaced()
        staged = backend.new_file()
        fill(staged, lambda staged: staged.write_text("new"))
        assert not opened.replaced()
        backend.publish(staged)
        assert opened.replaced()
        assert opened.file.read() == b"old"


def test_what_is_no_file_has_no_size() -> None:
    Path("directory").mkdir()

    assert [LocalBackend(Path(name)).size() for name in ("directory", "missing", "directory/below")] == [None] * 3


HOLD = """
import sys
from pathlib import Path
from trainbus.storage.local import LocalBackend
release = LocalBackend(Path("run")).acquire_lock("lock")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_names_its_owner_and_ends_with_it() -> None:
    """A killed process leaves the directory free."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(DirectoryLocked, match=f"process {owner.pid} on "):
            LocalBackend(Path("run")).acquire_lock("lock")
        LocalBackend(Path("run")).acquire_lock("another")()
        owner.kill()
    release = LocalBackend(Path("run")).acquire_lock("lock")
    with pytest.raises(DirectoryLocked, match=f"process {os.getpid()} on "):
        LocalBackend(Path("run")).acquire_lock("lock")
    release()
    LocalBackend(Path("run")).acquire_lock("lock")()


def test_a_new_name_replaces_the_file_that_has_it() -> None:
    """In one step; a directory is not replaced, and the file then keeps its name."""
    for name in ("new.pt", "old.pt"):
        LocalBackend(Path(name)).replace(name)
    LocalBackend(Path("new.pt")).rename("old.pt")
    assert (os.listdir(), Path("old.pt").read_text()) == (["old.pt"], "new.pt")
    Path("taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        LocalBackend(Path("old.pt")).rename("taken")
    assert Path("old.pt").read_text() == "new.pt"
