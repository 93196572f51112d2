"""Record what a run does and why."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from trainbus import Callback
from trainbus.callback import PathText
from trainbus.settings.run_id import RunStart
from trainbus.storage.paths import absolute, is_local

from .recorder import DisabledJournal, JournalRecorder


def _check_local(value: str) -> str:
    if is_local(value):
        return value
    raise ValueError("a journal grows during the run, which object stores do not support; give a local path")


class Journal(Callback):
    """Keep the journal of the run: a line of JSON for each epoch, each decision with its reason, and every other event.

    By default, every run with a directory for its files (that of the checkpoints, or else the ``log_dir``) writes
    ``journal.jsonl`` there. List this callback to write the journal to another path, or to turn it off. ``trainbus
    explain`` prints a journal as text, and ``trainbus schema journal`` prints the JSON schema.

    A second run with the same file appends to it, and so does a resumed run.

    >>> Journal("runs/first.jsonl").path
    'runs/first.jsonl'
    >>> Journal(enabled=False).enabled
    False
    """

    path: Annotated[PathText, AfterValidator(_check_local)] = Field("auto", kw_only=False)
    """Path of the file. "auto" is journal.jsonl in the directory of the first checkpoint, else in the first log_dir,
    else in the working directory. {run} in it is the id of the run. The path must be local: object stores (s3://)
    cannot append to a file. A run that saves only to a store writes a journal only if this callback is listed."""
    enabled: bool = True
    """Whether to write a journal."""

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with the path as an absolute one."""
        settings = super().effective_settings(subject)
        return settings if self.path == "auto" else {**settings, "path": absolute(self.path)}

    def exclusive_paths(self, subject: object = None) -> tuple[str, ...]:
        """Return the file, as an absolute path."""
        if not self.enabled:
            return ()
        return ("the one journal of the run" if self.path == "auto" else absolute(self.path),)

    def for_run(self, start: RunStart) -> Journal:
        """Return the callback of one run, with the run's id in its path.

        Args:
            start: How the run starts.

        Raises:
            SettingsError: The path needs an id, which was not given.
        """
        return self.with_option("path", start.fill("Journal: path", self.path))

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return JournalRecorder(self.path) if self.enabled else DisabledJournal()
