"""A process's temporary directory for remote files is removed with it, and no other process's directory is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainbus.storage import remote_cache

from .dying import in_child

MAKE = """
import os, sys
from trainbus.storage import remote_cache
directory = remote_cache.process_directory()
(directory / "download").touch()
print(directory, flush=True)
if sys.argv[1:] == ["killed"]:
    os._exit(1)
if sys.argv[1:] == ["forks"] and os.fork() == 0:
    assert remote_cache.process_directory() != directory
    sys.exit()
sys.stdin.read()
assert (directory / "download").exists()
"""


@pytest.fixture(autouse=True)
def _own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def started(*arguments: str) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("how", ["ends", "forks"])
def test_a_directory_ends_with_its_process(how: str, tmp_path: Path) -> None:
    """Not with a forked one, which has its own."""
    process, directory = started(how)
    assert (directory / "download").exists()
    process.communicate("")

    assert process.returncode == 0
    assert not list(tmp_path.glob(f"{remote_cache.PREFIX}*"))


def test_only_directories_of_dead_processes_are_stale(tmp_path: Path) -> None:
    """One in use, one that is not locked yet, a link and other directories stay."""
    living, in_use = started()
    dead, stale = started("killed")
    dead.communicate()
    fresh, link, other = (tmp_path / name for name in (f"{remote_cache.PREFIX}1", f"{remote_cache.PREFIX}2", "other"))
    fresh.mkdir()
    other.mkdir()
    (other / remote_cache.LOCK).touch()
    link.symlink_to(other)
    assert stale.exists()

    remote_cache.remove_stale_directories()

    assert not stale.exists()
    assert all(each.exists() for each in (in_use / "download", fresh, link, other / remote_cache.LOCK))
    living.communicate("")
    assert living.returncode == 0


def test_one_process_has_one_directory() -> None:
    """A forked process gets its own."""

    def work() -> None:
        mine = remote_cache.process_directory()
        assert mine == remote_cache.process_directory()
        assert in_child(lambda: os._exit(remote_cache.process_directory() == mine)) == 0

    assert in_child(work) == 0


def test_a_download_is_kept_for_one_load_inside_the_block_only(tmp_path: Path) -> None:
    """Each name keeps its first copy; every other one, and what is not taken, is removed."""
    first, second, third, outside = (tmp_path / name for name in ("first", "second", "third", "outside"))
    for each in (first, second, third, outside):
        each.touch()
    remote_cache.keep("model", outside)
    assert not outside.exists()
    assert remote_cache.take(lambda: "model") is None

    with remote_cache.downloads_kept():
        remote_cache.keep("model", first)
        remote_cache.keep("model", second)
        remote_cache.keep("last", third)
        assert (first.exists(), second.exists()) == (True, False)
        with remote_cache.downloads_kept():
            assert remote_cache.take(lambda: "model") is None, "the inner block keeps its own downloads"
        assert remote_cache.take(lambda: "model") == first
        assert remote_cache.take(lambda: "model") is None
        assert third.exists()

    assert not third.exists()
    assert first.exists(), "its taker removes it"
