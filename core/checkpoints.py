"""Checkpoints that nothing can spoil: a payload, and beside it a manifest that ties each content to its memory.

Two files cannot be renamed at once, so the manifest is written ahead: before the payload's rename it lists the contents
that may then be found, old and new, each with its digest and its memory; after the rename it drops the old. Whatever a
crash leaves behind, the digest of the payload on the disk finds its own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import CheckpointError
from .files import digest_of, discard, publish, replace_text, stage

__all__ = ["Checkpoint", "Content", "Manifest", "commit", "found_in", "manifest_of", "read", "remove"]

MANIFEST = ".trainbus.json"
"""What is added to a payload's name for the name of its manifest."""


class Content(BaseModel):
    """One content of a payload, and the moment of the run that it holds."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    digest: str
    """SHA-256 of the payload, in hexadecimal digits."""
    size: int
    """Length of the payload in bytes."""
    epoch: int
    step: int
    weights_only: bool = False
    reason: str = ""
    metrics: dict[str, float] = Field(default_factory=dict[str, float])
    """The metrics that are single numbers, of the last epoch that had ended."""
    written: datetime = Field(default_factory=lambda: datetime.now(UTC))
    memory: dict[str, Any] = Field(default_factory=dict[str, Any])
    """What belongs to exactly this content, as plain data."""


class Manifest(BaseModel):
    """What may be found at one payload's path, newest first."""

    format: Literal[1] = 1
    contents: list[Content]


class Checkpoint(BaseModel):
    """A payload that is complete and on the disk, with its content as the manifest has it."""

    model_config = ConfigDict(frozen=True)

    path: Path
    content: Content

    @property
    def epoch(self) -> int:
        """The epoch, counted from 0, in which it was saved."""
        return self.content.epoch

    @property
    def step(self) -> int:
        """Weight updates made until then."""
        return self.content.step

    @property
    def reason(self) -> str:
        """Why it was saved, in words."""
        return self.content.reason


def manifest_of(path: Path) -> Path:
    """Where the manifest of a payload lies.

    >>> manifest_of(Path("runs/best.pt")).as_posix()
    'runs/best.pt.trainbus.json'
    """
    return path.with_name(path.name + MANIFEST)


def commit(path: Path, write: Callable[[Path], object], **moment: Any) -> Checkpoint:
    """Let `write` make a file beside `path`, then put it, with its memory, in the place of `path`.

    At every instant `path` holds what it held before or the whole new content, also after a power cut, and the manifest
    has the memory of whichever it is.

    Args:
        path: where the payload shall stand; missing directories are made.
        write: is called with a path of the same suffix in the same directory, and writes the payload there.
        moment: fields of `Content` beside digest and size.

    Raises:
        CheckpointError: it could not be written; payload and memory are as they were.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "best.txt"
    >>> _ = commit(path, lambda staged: staged.write_text("weights"), epoch=3, step=40)
    >>> path.read_text(), read(path).epoch
    ('weights', 3)
    """
    try:
        before = _expected_at(path)
        staged = stage(path, write)
        try:
            content = Content(digest=digest_of(staged), size=staged.stat().st_size, **moment)
            _write_manifest(path, [content, *before])
        except BaseException:
            discard(staged)
            raise
        publish(staged, path)
        _write_manifest(path, [content])
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise CheckpointError(f"the checkpoint {str(path)!r} was not written: {error}") from error
    return Checkpoint(path=path, content=content)


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`, every byte of it verified.

    Raises:
        CheckpointError: there is none, or its content is not one that was committed.
    """
    try:
        contents = _contents(path)
        digest = digest_of(path)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
    if not contents:
        raise CheckpointError(f"{str(path)!r} has no manifest {manifest_of(path).name!r}, so nothing can verify it")
    for content in contents:
        if content.digest == digest:
            return Checkpoint(path=path, content=content)
    raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: its bytes are not those that were written")


def found_in(directory: Path) -> Iterator[tuple[Path, Content]]:
    """Payloads of a directory with the content that each should have, judged by size alone, latest step first.

    A payload that is gone or has another size is left out.
    """
    found: list[tuple[Path, Content]] = []
    for manifest in directory.glob(f"*{MANIFEST}"):
        path = manifest.with_name(manifest.name.removesuffix(MANIFEST))
        if path.is_file():
            size = path.stat().st_size
            found += [(path, content) for content in _contents(path) if content.size == size][:1]
    yield from sorted(found, key=lambda each: (each[1].step, each[1].epoch, each[1].written), reverse=True)


def remove(path: Path) -> None:
    """Remove a payload, then its manifest; one that is gone already is no error."""
    path.unlink(missing_ok=True)
    manifest_of(path).unlink(missing_ok=True)


def _expected_at(path: Path) -> list[Content]:
    """What may be found at `path` before it is written; a file that somebody else put there is one such content."""
    contents = _contents(path)
    if contents or not path.is_file():
        return contents
    return [Content(digest=digest_of(path), size=path.stat().st_size, epoch=-1, step=-1)]


def _contents(path: Path) -> list[Content]:
    try:
        return Manifest.model_validate_json(manifest_of(path).read_bytes()).contents
    except FileNotFoundError:
        return []
    except ValidationError:
        return []


def _write_manifest(path: Path, contents: list[Content]) -> None:
    replace_text(manifest_of(path), Manifest(contents=contents).model_dump_json(indent=1))
