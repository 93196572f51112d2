"""Checkpoints that nothing can spoil: a payload, and beside it a manifest that ties each content to its memory.

Two files cannot be renamed at once, so the manifest is written ahead: before the payload's rename it lists the contents
that may then be found, old and new, each with its digest and its memory; after the rename it drops the old. Whatever a
crash leaves behind, the digest of the payload on the disk finds its own memory. A payload may be a directory, laid out
as `parts` says.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import CheckpointError
from .files import RESERVED, digest_of, discard, publish, replace_text, stage, suffix_of
from .files import sweep as sweep_staged
from .parts import (
    Part,
    damage,
    digest_of_parts,
    drop_old_parts,
    holds_parts,
    parts_in,
    present,
    publish_parts,
    remove_parts,
    stage_parts,
)

__all__ = [
    "Checkpoint",
    "Content",
    "Found",
    "Manifest",
    "commit",
    "contents_of",
    "glance",
    "look",
    "manifest_of",
    "newest",
    "newest_intact",
    "payloads_in",
    "read",
    "remove",
    "survey",
    "sweep",
]

MANIFEST = ".trainbus.json"
"""What is added to a payload's name for the name of its manifest."""
SIGNED = re.compile(rb'(\{\s*"digest":\s*")([0-9a-f]*)')
"""How a manifest begins."""


class Content(BaseModel):
    """One content of a payload, and the moment of the run that it holds."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    digest: str
    """SHA-256 of the payload, in hexadecimal digits; of a directory that of the list of its parts."""
    size: int
    """Length of the payload in bytes."""
    parts: tuple[Part, ...] = ()
    """The files of a payload that is a directory."""
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

    digest: str = ""
    """SHA-256 of the manifest's own text, taken with nothing between these quotes; the first field, so that the text
    can be taken apart before it is parsed."""
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


def commit(path: Path, write: Callable[[Path], object], *, directory: bool = False, **moment: Any) -> Checkpoint:
    """Let `write` make a file beside `path`, then put it, with its memory, in the place of `path`.

    At every instant `path` holds what it held before or the whole new content, also after a power cut, and the manifest
    has the memory of whichever it is.

    Args:
        path: where the payload shall stand; missing directories are made.
        write: is called with a path of the same suffix in the same directory, and writes the payload there.
        directory: whether the payload is a directory, laid out as `parts` says; `write` finds it empty, and may return
            the list of its parts where it has read them back already.
        moment: fields of `Content` beside those that the payload tells.

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
        staged, parts = stage_parts(path, write) if directory else (stage(path, write), ())
        try:
            content = Content(**_measured(staged, parts), **moment)
            _write_manifest(path, [content, *before])
            if directory:
                publish_parts(staged, path, parts)
            else:
                publish(staged, path)
        except BaseException:
            discard(staged)
            raise
        _write_manifest(path, [content])
        if directory:
            drop_old_parts(path, [parts])
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise CheckpointError(f"the checkpoint {str(path)!r} was not written: {error}") from error
    return Checkpoint(path=path, content=content)


def _measured(payload: Path, parts: tuple[Part, ...]) -> dict[str, Any]:
    """The fields of `Content` that a payload tells."""
    if parts:
        return {"digest": digest_of_parts(parts), "size": sum(part.size for part in parts), "parts": parts}
    return {"digest": digest_of(payload), "size": payload.stat().st_size}


class Found(NamedTuple):
    """What a directory has at one payload's path."""

    path: Path
    content: Content | None
    """What should be there; None where no manifest tells."""
    flaw: str = ""
    """What is wrong with it, as far as was looked."""


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`, every byte of it verified; also while another process writes the next one there.

    Raises:
        CheckpointError: there is none, or its content is not one that was committed.
    """
    if path.is_dir():
        return _read_directory(path)
    while True:
        try:
            with path.open("rb") as payload:  # opened first: what is open stays what it is, whatever is renamed
                contents = contents_of(path)
                digest = hashlib.file_digest(payload, "sha256").hexdigest()
                # a manifest drops a content only after another payload took its place
                changed = not os.path.samestat(os.fstat(payload.fileno()), path.stat())
                changed = changed and all(content.digest != digest for content in contents)
        except OSError as error:
            raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
        if not changed:
            break
    if not contents:
        raise _unverifiable(path)
    for content in contents:
        if content.digest == digest:
            return Checkpoint(path=path, content=content)
    raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: its bytes are not those that were written")


def glance(path: Path) -> Checkpoint:
    """As `read`, for one of several processes: of a directory, which another has read, only the index is compared.

    Raises:
        CheckpointError: there is none, or its content is not one that was committed.
    """
    contents = contents_of(path) if path.is_dir() else []
    there = _there(path, contents)
    return Checkpoint(path=path, content=there[0]) if there else read(path)


def _read_directory(path: Path) -> Checkpoint:
    """As `read`. The index tells which of several contents it is; that one's parts are compared."""
    while True:
        contents = contents_of(path)
        if not contents:
            raise _unverifiable(path)
        there = _there(path, contents)
        flaw = damage(path, there[0].parts) if there else "its index is not one that was written"
        if not flaw:
            return Checkpoint(path=path, content=there[0])
        if contents_of(path) == contents and _there(path, contents) == there:  # else a writer was faster
            raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: {flaw}")


def _there(path: Path, contents: Iterable[Content]) -> list[Content]:
    """Those whose index is in the directory; mostly one."""
    return [content for content in contents if present(path, content.parts)]


def _unverifiable(path: Path) -> CheckpointError:
    manifest = manifest_of(path)
    state = "damaged" if manifest.exists() else "missing"
    return CheckpointError(f"nothing can verify {str(path)!r}: its manifest {manifest.name!r} is {state}")


def survey(directory: Path, *, verify: bool = False) -> list[Found]:
    """Everything in a directory that is a checkpoint or was one, latest step first; what no manifest tells comes last.

    Args:
        directory: is looked at itself, not what lies deeper.
        verify: whether every byte is read. Otherwise a payload passes that has the size it should have.

    Raises:
        CheckpointError: the directory cannot be read.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        raise CheckpointError(f"{str(directory)!r} cannot be searched for checkpoints: {error}") from error
    told = {name.removesuffix(MANIFEST) for name in names if name.endswith(MANIFEST)} - {""}
    # a file like the others that lost its manifest is named, or an older one would take its place in silence
    kinds = {suffix_of(Path(name)) for name in told} - {""}
    lost = {name for name in names if suffix_of(Path(name)) in kinds and not name.startswith(RESERVED)} - told
    return look([directory / name for name in told | lost if not name.endswith(MANIFEST)], verify=verify)


def look(paths: Iterable[Path], *, verify: bool = False) -> list[Found]:
    """What is at each path, latest step first, as `survey` tells it; without those where nothing is."""
    found = [_look(path, verify=verify) for path in sorted(paths)]
    there = (each for each in found if each.path.exists() or manifest_of(each.path).exists())  # none removed meanwhile
    return sorted(there, key=_age)


def payloads_in(directory: Path) -> list[Path]:
    """The paths in a directory that have a manifest, whether there is a payload or not."""
    return [path.with_name(path.name.removesuffix(MANIFEST)) for path in directory.glob(f"*{MANIFEST}")]


def newest_intact(directory: Path) -> tuple[Checkpoint | None, list[Found]]:
    """The checkpoint of the latest step whose bytes are all as they were written, None where there is none.

    Clocks play no part. Also returned is what was passed over on the way to it: damaged, gone, or of unknown step.

    Raises:
        CheckpointError: the directory cannot be read.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for step in (1, 2):
    ...     _ = commit(folder / f"{step}.txt", lambda staged: staged.write_text("weights"), epoch=0, step=step)
    >>> _ = (folder / "2.txt").write_text("weighty")
    >>> newest, passed_over = newest_intact(folder)
    >>> newest.step, [found.path.name for found in passed_over]
    (1, ['2.txt'])
    """
    return newest(survey(directory))


def newest(candidates: Iterable[Found]) -> tuple[Checkpoint | None, list[Found]]:
    """The first of the candidates whose bytes are all as they were written, and what was passed over, as above."""
    first: Checkpoint | None = None
    passed_over: list[Found] = []
    for found in candidates:
        if found.content is not None and first is not None:
            continue
        looked = found if found.flaw else _look(found.path, verify=True)
        if looked.flaw or looked.content is None:
            passed_over.append(looked)
        else:
            first = Checkpoint(path=looked.path, content=looked.content)
    return first, passed_over


def remove(path: Path) -> None:
    """Remove a payload, then its manifest; one that is gone already is no error.

    Raises:
        CheckpointError: it is a directory that is no payload.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    elif holds_parts(path):
        remove_parts(path)
    else:
        raise CheckpointError(f"{str(path)!r} is not removed: the directory holds more than a checkpoint")
    manifest_of(path).unlink(missing_ok=True)


def sweep(directory: Path) -> list[Path]:
    """Remove what writers that died have left in `directory`; only for whoever owns the directory's lock."""
    debris = sweep_staged(directory)
    for path in payloads_in(directory):
        there = _there(path, contents_of(path))
        if there and holds_parts(path):
            debris += drop_old_parts(path, [content.parts for content in there])
    return debris


def _expected_at(path: Path) -> list[Content]:
    """What may be found at `path` before it is written; a file that somebody else put there is one such content."""
    contents = contents_of(path)
    if contents or not path.exists():
        return contents
    parts = parts_in(path) if holds_parts(path) else ()
    return [Content(**_measured(path, parts), epoch=-1, step=-1)] if parts or path.is_file() else []


def _look(path: Path, *, verify: bool) -> Found:
    """One payload and its manifest; after a crash only the digest can tell which of several contents it is."""
    try:
        contents = contents_of(path)
    except OSError as error:
        return Found(path, None, f"its manifest cannot be read: {error}")
    if not contents:
        state = "damaged" if manifest_of(path).exists() else "missing"
        return Found(path, None, f"its manifest {manifest_of(path).name!r} is {state}")
    size = _size(path, contents[0])
    if size is None:
        return Found(path, contents[0], "missing: it was removed, or its run died before it was there")
    if len(contents) == 1 and contents[0].size == size and not verify:
        return Found(path, contents[0])
    try:
        content = read(path).content
        foreign = "somebody else's file, whole; the save that was to replace it never came"
        return Found(path, content) if content.step >= 0 else Found(path, None, foreign)
    except CheckpointError as error:
        same = any(content.size == size for content in contents)
        if path.is_dir():
            return Found(path, contents[0], f"damaged: {str(error).partition(' is damaged: ')[2]}")
        told = "its bytes are not those that were written" if same else f"{size:,} bytes, not {contents[0].size:,}"
        return Found(path, contents[0], f"unreadable: {error.__cause__}" if error.__cause__ else f"damaged: {told}")


def _size(path: Path, content: Content) -> int | None:
    """The size of a payload; of a directory that of the parts it should have. None where nothing is there."""
    try:
        if path.is_file():
            return path.stat().st_size
        return sum((path / part.name).stat().st_size for part in content.parts) if path.is_dir() else None
    except FileNotFoundError:  # removed between the two calls
        return 0 if path.is_dir() else None


def _age(found: Found) -> tuple[float, ...]:
    """What to sort by, latest step first."""
    if found.content is None:
        return (1,)
    return (0, -found.content.step, -found.content.epoch, -found.content.written.timestamp())


def contents_of(path: Path) -> list[Content]:
    """What the manifest of a payload has, newest first; nothing where it is not there, or not as it was written."""
    try:
        text = manifest_of(path).read_bytes()
    except FileNotFoundError:
        return []
    signed = SIGNED.match(text)
    if signed is None or _digest(signed[1] + text[signed.end(2) :]) != signed[2]:
        return []
    try:
        return Manifest.model_validate_json(text).contents
    except ValidationError:
        return []


def _write_manifest(path: Path, contents: list[Content]) -> None:
    text = Manifest(contents=contents).model_dump_json()
    unsigned = SIGNED.match(text.encode())
    assert unsigned is not None, "digest is the first field"
    start = unsigned[1].decode()
    replace_text(manifest_of(path), start + _digest(text.encode()).decode() + text.removeprefix(start))


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
