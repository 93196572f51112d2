"""The laws of committing a file."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError
from trainbus.checkpoints import commit, suffix_of


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4))
def test_the_file_is_the_last_content_and_nothing_else_is_left(contents: list[bytes]) -> None:
    """After each commit the path holds its content, and the directory nothing but the path."""
    path = Path("deep/er/best.bin")
    for content in contents:
        commit(path, lambda staged, content=content: staged.write_bytes(content))

        assert path.read_bytes() == content
        assert os.listdir(path.parent) == ["best.bin"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64")])
def test_a_failed_write_leaves_everything_as_it_was(error: Exception) -> None:
    """Whatever the writer raises after writing half, the old file stays whole and no debris is left."""
    path = Path("best.bin")
    path.write_text("old")

    def fail(staged: Path) -> None:
        staged.write_text("half of the ne")
        raise error

    with pytest.raises(CheckpointError, match=r"best.bin.* was not written") as raised:
        commit(path, fail)

    assert raised.value.__cause__ is error
    assert path.read_text() == "old"
    assert os.listdir() == ["best.bin"]


def test_other_errors_pass_as_they_are_and_leave_no_debris() -> None:
    """An interrupt or a fault of the writer is not hidden behind a CheckpointError."""

    def fail(staged: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        commit(Path("best.bin"), fail)
    assert os.listdir() == []


def test_a_directory_is_refused() -> None:
    """A path that is a directory is left alone."""
    Path("best").mkdir()

    with pytest.raises(CheckpointError, match="is a directory"):
        commit(Path("best"), lambda staged: staged.touch())
    assert Path("best").is_dir()


def test_a_planted_link_is_replaced_and_its_target_untouched() -> None:
    """A symbolic link at the path is not followed."""
    victim = Path("victim")
    victim.write_text("precious")
    Path("best.bin").symlink_to(victim)

    commit(Path("best.bin"), lambda staged: staged.write_text("new"))

    assert victim.read_text() == "precious"
    assert not Path("best.bin").is_symlink()


def test_the_file_has_the_rights_of_any_new_file() -> None:
    """Committed files are as readable as those that open() makes."""
    Path("plain").touch()
    commit(Path("best.bin"), lambda staged: staged.touch())

    assert stat.S_IMODE(Path("best.bin").stat().st_mode) == stat.S_IMODE(Path("plain").stat().st_mode)


def test_the_staged_file_has_the_suffix_and_directory_of_its_target() -> None:
    """Writers that look at the suffix, and renames that must not cross file systems, get what they need."""
    seen: list[Path] = []
    for name in ("a.keras", "a.weights.h5", "a"):
        commit(Path(name), lambda staged: (seen.append(staged), staged.touch()))

    assert [suffix_of(path) for path in seen] == [".keras", ".weights.h5", ""]
    assert {path.parent.resolve() for path in seen} == {Path.cwd()}


def test_content_is_synced_before_the_rename_and_the_directory_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that survives a power cut: sync the file, rename it, sync the directory."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(handle: int) -> None:
        calls.append("sync directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        fsync(handle)

    def recorded_replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    commit(Path("best.bin"), lambda staged: staged.write_text("new"))

    assert calls == ["sync file", "rename", "sync directory"]
