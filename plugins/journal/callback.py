"""Write down what a run does and why it decides as it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from trainbus import Callback
from trainbus.callback import PathText
from trainbus.storage.paths import is_local

from .recorder import Journalist, Silent

__all__ = ["Journal"]


def _growing(value: str) -> str:
    if is_local(value):
        return value
    raise ValueError("a journal grows while the run goes on, which no store allows; give a path of this machine")


class Journal(Callback):
    """Keep the journal of the run: a line of JSON for each epoch, each decision with its reason, and all that happens.

    Every run that has a place for its files, a checkpoint's directory or else a log_dir, keeps one there by itself,
    called journal.jsonl. List this callback to place it elsewhere, or to have none. `trainbus explain` tells it in
    words, `trainbus schema journal` what is in it.

    A second run with the same file adds to it, and so does one that is resumed.

    >>> Journal("runs/first.jsonl").path
    'runs/first.jsonl'
    >>> Journal(enabled=False).enabled
    False
    """

    path: Annotated[PathText, AfterValidator(_growing)] = Field("auto", kw_only=False)
    """Path of the file; "auto" is journal.jsonl in the directory of the first checkpoint, else in the first log_dir,
    else in the working directory. A store (s3://) lets no file grow: a run that has no other place keeps one only where
    this callback is listed."""
    enabled: bool = True
    """Whether anything is written."""

    def exclusive_paths(self) -> tuple[str, ...]:
        """The file, as an absolute path."""
        if not self.enabled:
            return ()
        return ("the one journal of the run" if self.path == "auto" else str(Path(self.path).resolve()),)

    def plugin(self) -> object:
        """A new listener for one run."""
        return Journalist(self.path) if self.enabled else Silent()
