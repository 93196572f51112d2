"""Files that a run has saved, shared by the tests of ModelCheckpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainbus.checkpoints.history.history_reader import PREFIX
from trainbus.plugins import ModelCheckpoint
from trainbus.resume.end_record import NAME
from trainbus.storage.directory_lock import LOCK
from trainbus.testing import LineSubject, scripted


def saved(history: Sequence[dict[str, Any]], **options: Any) -> list[str]:
    """Return the files that a run over the history saves, in order."""
    options.setdefault("filepath", "m-{epoch}")
    run, _ = scripted(history, ModelCheckpoint(**options), LineSubject())
    return [checkpoint.path.name for checkpoint in run.state.checkpoints]


def visible(folder: Path | str = ".") -> set[str]:
    """Return the files in a directory without the run's lock, journal, histories and end record, with staged files."""
    names = {path.name for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith(PREFIX)}
    return names - {LOCK, NAME, "journal.jsonl"}


def on_disk(folder: Path | str = ".") -> set[str]:
    """Return the checkpoints in a directory; each has its manifest, and no manifest is without a checkpoint."""
    names = visible(folder)
    payloads = {name for name in names if not name.startswith("trainbus.")}
    assert names - payloads == {f"trainbus.{name}.json" for name in payloads}
    return {name.removesuffix(".npz") for name in payloads}
