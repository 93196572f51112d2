"""A payload in parts, for tests."""

from pathlib import Path

from trainbus.storage.sharded_directory import SHARDS


def fill(directory: Path, text: str) -> None:
    """Write an index that names two parts, which are in a new subdirectory."""
    shards = directory / f"{SHARDS}{text}"
    shards.mkdir()
    for rank in "01":
        (shards / rank).write_text(text)
    (directory / "index").write_text(f"{shards.name}/0 {shards.name}/1")
