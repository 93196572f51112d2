"""Checkpoints that nothing can spoil: a payload, and beside it a manifest that ties each content to its memory.

Two files cannot be renamed at once, so the manifest is written ahead: before the payload's rename it lists the contents
that may then be found, old and new, each with its digest and its memory; after the rename it drops the old. Whatever a
crash leaves behind, the digest of the payload on the disk finds its own memory. A payload may be a directory, laid out
as `parts` says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import CheckpointError
from .files import RESERVED, digest_of, discard, suffix_of
from .locations import Location
from .parts import (
    EVERYTHING,
    Part,
    Portion,
    damage,
    digest_of_parts,
    drop_old_parts,
    holds_parts,
    parts_in,
    present,
    publish_parts,
    stage_parts,
)
from .places import at, digest_at

__all__ = [
    "Checkpoint",
    "Content",
    "Found",
    "Manifest",
    "commit",
    "contents_of",
    "fetched",
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

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: Location
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


def manifest_of(path: Location) -> Location:
    """Where the manifest of a payload lies.

    >>> manifest_of(Path("runs/best.pt")).as_posix()
    'runs/best.pt.trainbus.json'
    """
    return path.with_name(path.name + MANIFEST)


def commit(path: Location, write: Callable[[Path], object], *, directory: bool = False, **moment: Any) -> Checkpoint:
    """Let `write` make a file, then put it, with its memory, in the place of `path`.

    At every instant `path` holds what it held before or the whole new content, also after a power cut, and the manifest
    has the memory of whichever it is.

    Args:
        path: where the payload shall stand; missing directories are made.
        write: is called with a path of the same suffix on this machine (in the same directory, where `path` lies on
            its disk), and writes the payload there.
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
        if directory:
            return _commit_directory(_on_disk(path), write, moment)
        place, before = at(path), _expected_at(path)
        staged = place.stage(write)
        try:
            content = Content(**_measured(staged), **moment)
            _write_manifest(path, [content, *before])
        except BaseException:
            discard(staged)
            raise
        place.publish(staged)
        _write_manifest(path, [content])
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise CheckpointError(f"the checkpoint {str(path)!r} was not written: {error}") from error
    return Checkpoint(path=path, content=content)


def _commit_directory(path: Path, write: Callable[[Path], object], moment: dict[str, Any]) -> Checkpoint:
    before = _expected_at(path)
    staged, parts = stage_parts(path, write)
    try:
        content = Content(**_measured(staged, parts), **moment)
        _write_manifest(path, [content, *before])
        publish_parts(staged, path, parts)
    except BaseException:
        discard(staged)
        raise
    _write_manifest(path, [content])
    drop_old_parts(path, [parts])
    return Checkpoint(path=path, content=content)


def _on_disk(path: Location) -> Path:
    if isinstance(path, Path):
        return path
    raise CheckpointError("a directory of parts needs a path on a file system; upload it from there")


def _measured(payload: Path, parts: tuple[Part, ...] = ()) -> dict[str, Any]:
    """The fields of `Content` that a payload tells."""
    if parts:
        return {"digest": digest_of_parts(parts), "size": sum(part.size for part in parts), "parts": parts}
    return {"digest": digest_of(payload), "size": payload.stat().st_size}


class Found(NamedTuple):
    """What a directory has at one payload's path."""

    path: Location
    content: Content | None
    """What should be there; None where no manifest tells."""
    flaw: str = ""
    """What is wrong with it, as far as was looked."""


def read(path: Location, mine: Portion = EVERYTHING) -> Checkpoint:
    """The checkpoint at `path`, every byte of it verified; also while another process writes the next one there.

    Args:
        path: where it lies.
        mine: what to verify of a directory, where other processes verify the rest.

    Raises:
        CheckpointError: there is none, or its content is not one that was committed.
    """
    if isinstance(path, Path) and path.is_dir():
        return _read_directory(path, mine)
    while True:
        try:
            with at(path).reading() as payload:  # opened first: what is open stays what it is, whatever is renamed
                contents = contents_of(path)
                digest = hashlib.file_digest(payload.file, "sha256").hexdigest()
                # a manifest drops a content only after another payload took its place
                changed = payload.replaced()
                changed = changed and all(content.digest != digest for content in contents)
        except OSError as error:
            raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
        if not changed:
            break
    if not contents:
        raise CheckpointError(f"nothing can verify {str(path)!r}: {_manifest_is(path)}")
    for content in contents:
        if content.digest == digest:
            return Checkpoint(path=path, content=content)
    raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: its bytes are not those that were written")


def _read_directory(path: Path, mine: Portion) -> Checkpoint:
    """As `read`. The index tells which of several contents it is; that one's parts are compared."""
    while True:
        contents = contents_of(path)
        if not contents:
            raise CheckpointError(f"nothing can verify {str(path)!r}: {_manifest_is(path)}")
        there = _there(path, contents)
        flaw = damage(path, mine.of(there[0].parts)) if there else "its index is not one that was written"
        if not flaw:
            return Checkpoint(path=path, content=there[0])
        if contents_of(path) == contents and _there(path, contents) == there:  # else a writer was faster
            raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: {flaw}")


def _there(path: Path, contents: Iterable[Content]) -> list[Content]:
    """Those whose index is in the directory; mostly one."""
    return [content for content in contents if present(path, content.parts)]


def survey(directory: Location, *, verify: bool = False) -> list[Found]:
    """Everything in a directory that is a checkpoint or was one, latest step first; what no manifest tells comes last.

    Args:
        directory: is looked at itself, not what lies deeper.
        verify: whether every byte is read. Otherwise a payload passes that has the size it should have.

    Raises:
        CheckpointError: the directory cannot be read.
    """
    try:
        names = sorted(at(directory).names())
    except OSError as error:
        raise CheckpointError(f"{str(directory)!r} cannot be searched for checkpoints: {error}") from error
    told = {name.removesuffix(MANIFEST) for name in names if name.endswith(MANIFEST)} - {""}
    # a file like the others that lost its manifest is named, or an older one would take its place in silence
    kinds = {suffix_of(Path(name)) for name in told} - {""}
    lost = {name for name in names if suffix_of(Path(name)) in kinds and not name.startswith(RESERVED)} - told
    return look([directory / name for name in told | lost if not name.endswith(MANIFEST)], verify=verify)


def look(paths: Iterable[Location], *, verify: bool = False) -> list[Found]:
    """What is at each path, latest step first, as `survey` tells it; without those where nothing is."""
    found = [_look(path, verify=verify) for path in sorted(paths, key=str)]
    return sorted((each for each in found if each is not None), key=_age)


def payloads_in(directory: Location) -> list[Location]:
    """The paths in a directory that have a manifest, whether there is a payload or not."""
    return [directory / name.removesuffix(MANIFEST) for name in at(directory).names() if name.endswith(MANIFEST)]


def newest_intact(directory: Location) -> tuple[Checkpoint | None, list[Found]]:
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


def newest(candidates: Iterable[Found], mine: Portion = EVERYTHING) -> tuple[Checkpoint | None, list[Found]]:
    """The first of the candidates whose bytes are all as they were written, and what was passed over, as above."""
    first: Checkpoint | None = None
    passed_over: list[Found] = []
    for found in candidates:
        if found.content is not None and first is not None:
            continue
        looked = found if found.flaw else _look(found.path, verify=True, mine=mine)
        if looked is None:  # removed meanwhile
            continue
        if looked.flaw or looked.content is None:
            passed_over.append(looked)
        else:
            first = Checkpoint(path=looked.path, content=looked.content)
    return first, passed_over


def remove(path: Location) -> None:
    """Remove a payload, then its manifest; one that is gone already is no error."""
    at(path).remove()
    at(manifest_of(path)).remove()


def sweep(directory: Location) -> None:
    """Remove what writers that died have left in `directory`; only for its owner."""
    at(directory).sweep()
    for path in payloads_in(directory) if isinstance(directory, Path) else ():
        there = _there(path, contents_of(path)) if isinstance(path, Path) and holds_parts(path) else []
        if there and isinstance(path, Path):
            drop_old_parts(path, [content.parts for content in there])


@contextmanager
def fetched(path: Location, digest: str = "") -> Generator[Path]:
    """A file on this machine that holds what `path` does, for whoever loads it.

    Raises:
        CheckpointError: it cannot be read, or what was fetched from elsewhere has not this digest.
    """
    with ExitStack() as open_files:
        try:
            file = open_files.enter_context(at(path).local())
        except OSError as error:
            raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
        if digest and file != path and digest_of(file) != digest:
            raise CheckpointError(f"{str(path)!r} is no longer what it was: somebody has written there meanwhile")
        yield file


def _expected_at(path: Location) -> list[Content]:
    """What may be found at `path` before it is written; a file that somebody else put there is one such content."""
    contents = contents_of(path)
    if not contents and isinstance(path, Path) and holds_parts(path):
        parts = parts_in(path)
        return [Content(**_measured(path, parts), epoch=-1, step=-1)] if parts else []
    size = None if contents else at(path).size()
    return contents if size is None else [Content(digest=digest_at(path), size=size, epoch=-1, step=-1)]


def _look(path: Location, *, verify: bool, mine: Portion = EVERYTHING) -> Found | None:
    """One payload and its manifest, None for neither; after a crash only the digest can tell which content it is."""
    try:
        contents = contents_of(path)
        size = _size(path, contents)
    except OSError as error:
        return Found(path, None, f"its manifest cannot be read: {error}")
    if not contents:
        flaw = _manifest_is(path)
        return None if size is None and flaw.endswith("missing") else Found(path, None, flaw)
    if size is None:
        return Found(path, contents[0], "missing: it was removed, or its run died before it was there")
    if len(contents) == 1 and contents[0].size == size and not verify:
        return Found(path, contents[0])
    try:
        content = read(path, mine).content
        foreign = "somebody else's file, whole; the save that was to replace it never came"
        return Found(path, content) if content.step >= 0 else Found(path, None, foreign)
    except CheckpointError as error:
        if isinstance(path, Path) and path.is_dir():
            return Found(path, contents[0], f"damaged: {str(error).partition(' is damaged: ')[2]}")
        same = any(content.size == size for content in contents)
        told = "its bytes are not those that were written" if same else f"{size:,} bytes, not {contents[0].size:,}"
        return Found(path, contents[0], f"unreadable: {error.__cause__}" if error.__cause__ else f"damaged: {told}")


def _size(path: Location, contents: list[Content]) -> int | None:
    """The size of a payload; of a directory that of the parts it should have. None where nothing is there."""
    if not isinstance(path, Path) or not holds_parts(path) or (contents and not contents[0].parts):
        return at(path).size()
    try:
        return sum((path / part.name).stat().st_size for part in (contents[0].parts if contents else ()))
    except FileNotFoundError:
        return 0 if path.is_dir() else None


def _manifest_is(path: Location) -> str:
    """What is wrong with the manifest of a payload, where it tells of no content."""
    manifest = manifest_of(path)
    return f"its manifest {manifest.name!r} is {'missing' if at(manifest).size() is None else 'damaged'}"


def _age(found: Found) -> tuple[float, ...]:
    """What to sort by, latest step first."""
    if found.content is None:
        return (1,)
    return (0, -found.content.step, -found.content.epoch, -found.content.written.timestamp())


def contents_of(path: Location) -> list[Content]:
    """What the manifest of a payload has, newest first; nothing where it is not there, or not as it was written."""
    try:
        text = at(manifest_of(path)).read()
    except FileNotFoundError:
        return []
    signed = SIGNED.match(text)
    if signed is None or _digest(signed[1] + text[signed.end(2) :]) != signed[2]:
        return []
    try:
        return Manifest.model_validate_json(text).contents
    except ValidationError:
        return []


def _write_manifest(path: Location, contents: list[Content]) -> None:
    text = Manifest(contents=contents).model_dump_json()
    unsigned = SIGNED.match(text.encode())
    assert unsigned is not None, "digest is the first field"
    start = unsigned[1].decode()
    at(manifest_of(path)).replace(start + _digest(text.encode()).decode() + text.removeprefix(start))


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
