"""Capabilities of subjects that can be saved and restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable


@runtime_checkable
class Saveable(Protocol):
    """A subject that can be written to a file."""

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return the suffixes that name the supported formats, the default first, each with its dot."""
        ...

    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the state to a file; write all bytes or raise.

        Args:
            path: The file. If its suffix is none of ``suffixes``, such as ".ckpt", it gets the default format.
            weights_only: Whether to write only the weights, not the complete training state.

        Returns:
            The SHA-256 digest of the written bytes in hexadecimal digits, to verify the file before it replaces
            another. Any other value is ignored.
        """
        ...


@runtime_checkable
class BackgroundSaveable(Protocol):
    """A subject that can be written to a file while it trains."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Copy the current state; return a function that writes the copy to a path like ``save``, in any thread.

        The caller may call the function several times, until the next call of ``snapshot_writer``, which may reuse the
        memory of the copy. Like ``save``, the function may return the digest of the written bytes.
        """
        ...


@runtime_checkable
class SavesContent(Protocol):
    """A subject that can write content of the user's own to a file of its framework's format."""

    def content_writer(self, content: Any) -> Callable[[Path], object]:
        """Copy the content; return a function that writes the copy to a path like ``save``, in any thread.

        Later training cannot change the copy, even if the content holds the parameters of the model themselves.
        """
        ...


class PartWriters(NamedTuple):
    """Functions that write one state of several models to paths, like ``save``, in any thread."""

    whole: Callable[[Path], object]
    """Writes the state of all models, as ``save`` does; a run resumes from this file."""
    parts: Mapping[str, Callable[[Path], object]]
    """Name of each model to the function that writes its state alone, as a file of one model has it."""


@runtime_checkable
class SavesParts(Protocol):
    """A subject of several named models, of which each can be written to a file of its own."""

    def part_names(self) -> Sequence[str]:
        """Return the names of the models."""
        ...

    def part_writers(self, *, weights_only: bool, background: bool) -> PartWriters:
        """Return functions that write the current state.

        Args:
            weights_only: Whether to write only the weights, not the complete training state.
            background: Whether the functions are called while the training continues, so that the state is copied. The
                next call of this or of ``snapshot_writer`` may reuse the memory of the copy.
        """
        ...


@runtime_checkable
class SavesSomeInBackground(Protocol):
    """A ``BackgroundSaveable`` subject that can write only some of its file formats in the background."""

    def saves_in_background(self, name: str) -> bool:
        """Return whether the function from ``snapshot_writer`` can write a file with this name."""
        ...


@runtime_checkable
class SnapshotsMore(Protocol):
    """A subject whose snapshots hold more than its files of weights, such as averages of the weights."""

    def left_out_of_weights(self) -> Sequence[str]:
        """Describe the parts of a snapshot that only a complete file contains, such as "extra 'average'".

        ``save_weights_only=True`` omits these parts, and the run reports them. Empty if there are none.
        """
        ...


@runtime_checkable
class Restorable(Protocol):
    """A subject that can be restored from a file that it wrote."""

    def load(self, path: Path) -> None:
        """Load the state in ``path``, whatever its suffix, into the subject, in place.

        Raises:
            UnreadableCheckpoint: The file cannot be read, and nothing has been changed; a run that resumes then looks
                for an older checkpoint.
        """
        ...


@runtime_checkable
class Snapshotable(Protocol):
    """A subject that can be copied to memory and restored from there."""

    def snapshot(self) -> object:
        """Return a copy of the weights that later training cannot change."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Load a snapshot made by this subject, in place."""
        ...
