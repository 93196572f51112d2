"""Files and directories survive a power cut once they are made."""

from pathlib import Path

import pytest

from trainbus.storage.atomic_file import make_directory


def test_new_directories_are_on_the_disk_before_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each directory that is made is synced in the one above it, or a power cut would take it with all its files."""
    synced: list[Path] = []
    monkeypatch.setattr("trainbus.storage.atomic_file.sync", synced.append)

    make_directory(Path("a/b/c"))
    make_directory(Path("a/b/c"))

    assert synced == [Path(), Path("a"), Path("a/b")]
