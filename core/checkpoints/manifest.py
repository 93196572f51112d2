"""Manifests: a file next to each payload, which lists the payload's possible contents, each with its run state."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..limits import EPOCHS, STEPS
from ..storage.atomic_file import RESERVED
from ..storage.backend import backend_for
from ..storage.paths import Location
from ..storage.sharded_directory import Part

BESIDE = f"{RESERVED}state-"
"""Prefix of the names under which the files beside a payload are written; a training state keeps this name."""
_BEFORE, _AFTER = "trainbus.", ".json"
"""The prefix and suffix that a manifest adds to the name of its payload. With the prefix, patterns such as
``snapshot*`` or ``*.pt`` do not match manifests; ``*`` matches both.
"""
FORMAT: Final = 3
"""Version of the manifests that are read and written here."""
SIGNED = re.compile(rb'(\{\s*"digest":\s*")([0-9a-f]*)')
"""The start of a manifest."""
_WRITTEN: deque[tuple[bytes, tuple[ManifestEntry, ...]]] = deque(maxlen=8)
"""The text and the entries of the manifests that this process has written last."""


class FileBeside(BaseModel):
    """A file beside a payload that belongs to the same save: the training state, or another of several models."""

    model_config = ConfigDict(frozen=True)

    stored: str = Field(pattern=rf"^{re.escape(BESIDE)}[0-9a-f]{{16}}(\.[A-Za-z0-9]+)*$")
    """The name under which it is written; it is in the directory of the payload."""
    size: int = Field(ge=0)
    digest: str
    name: str = ""
    """The name that it gets after the payload is committed; empty for the training state, which gets none."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        plain = not any(each in name for each in "/\\\0") and name not in (".", "..")
        if not plain or name.startswith(RESERVED) or any(payload_names([name])):
            raise ValueError(f"{name!r} is not the name of a checkpoint")
        return name


class ManifestEntry(BaseModel):
    """One content of a payload, with the run's counters, metrics and state when it was saved."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    digest: str
    """SHA-256 of the payload, in hexadecimal digits; of a directory, that of the list of its parts."""
    size: int = Field(ge=0)
    """Length of the payload in bytes."""
    parts: tuple[Part, ...] = ()
    """The files of a payload directory."""
    files: tuple[FileBeside, ...] = ()
    """The other files of the save: the training state, if the payload does not hold it, and the other models."""
    epoch: int = Field(ge=-1, le=EPOCHS)
    """The epoch, counted from 0, in which it was saved."""
    step: int = Field(ge=-1, le=STEPS)
    """Weight updates of the run until then."""
    weights_only: bool = False
    """Whether the payload holds only the weights, not the complete training state."""
    for_inspection: bool = False
    """Whether a resume continues from it only if its path is given."""
    reason: str = ""
    """Why it was saved, in words."""
    metrics: dict[str, float] = Field(default_factory=dict[str, float])
    """The scalar metrics of the last epoch that had ended."""
    written: datetime = Field(default_factory=lambda: datetime.now(UTC))
    """When it was saved."""
    run_state: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The state of the run for this content, as plain data."""

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield what tells checkpoints apart: states, metrics and parts are long."""
        yield from (("epoch", self.epoch), ("step", self.step), ("size", self.size), ("digest", self.digest[:8]))

    @property
    def state_file(self) -> FileBeside | None:
        """The file of the training state, if the payload does not hold it."""
        return next((each for each in self.files if not each.name), None)

    @property
    def total_size(self) -> int:
        """Length of all files of the save in bytes."""
        return self.size + sum(each.size for each in self.files)

    @cached_property
    def text(self) -> str:
        """The entry as JSON; each save writes it into two manifests."""
        return self.model_dump_json()


class Manifest(BaseModel):
    """The contents that may be found at one payload's path, newest first."""

    digest: str = ""
    """SHA-256 of the manifest's own text with this string empty; the first field, so that the text can be verified
    before it is parsed."""
    format: Literal[3] = FORMAT
    entries: list[ManifestEntry]


def manifest_of(path: Location) -> Location:
    """Return the path of a payload's manifest.

    >>> from pathlib import Path
    >>> manifest_of(Path("runs/best.pt")).as_posix()
    'runs/trainbus.best.pt.json'
    """
    return path.with_name(f"{_BEFORE}{path.name}{_AFTER}")


def payload_of(path: Location) -> Location | None:
    """Return the path of a manifest's payload; None if the path is not that of a manifest.

    >>> from pathlib import Path
    >>> str(payload_of(Path("runs/trainbus.best.pt.json"))), payload_of(Path("runs/best.pt"))
    ('runs/best.pt', None)
    """
    return next((path.with_name(name) for name in payload_names([path.name])), None)


def payload_names(names: Iterable[str]) -> Iterator[str]:
    """Return the names of the payloads whose manifests are among these names of files.

    >>> list(payload_names(["best.pt", "trainbus.best.pt.json", "trainbus.json"]))
    ['best.pt']
    """
    for each in names:
        if each.startswith(_BEFORE) and each.endswith(_AFTER):
            name = each[len(_BEFORE) : -len(_AFTER)]
            if name not in ("", ".", ".."):
                yield name


def entries_of(path: Location) -> list[ManifestEntry]:
    """Return the entries of a payload's manifest, newest first; none if it is missing, damaged or of another format."""
    try:
        text = backend_for(manifest_of(path)).read()
    except FileNotFoundError:
        return []
    return list(_parse(text))


@lru_cache(maxsize=2)
def _parse(text: bytes) -> tuple[ManifestEntry, ...]:
    """Return the entries in a manifest's text; a run reads the manifest that it has just written before each save."""
    try:
        return tuple(Manifest.model_validate_json(text).entries) if _is_intact(text) else ()
    except ValidationError:
        return ()


def manifest_problem(path: Location) -> str:
    """Describe why a payload's manifest has no entries."""
    manifest = manifest_of(path)
    problem = f"its manifest {manifest.name!r} is "
    try:
        text = backend_for(manifest).read()
    except FileNotFoundError:
        return problem + "missing"
    found = re.search(rb'"format":\s*(\d+)', text)
    if found is None or int(found[1]) == FORMAT or not _is_intact(text):
        return problem + "damaged"
    return f"{problem}of format {int(found[1])}, and this version of trainbus reads format {FORMAT}"


def entries_before_write(path: Location) -> list[ManifestEntry]:
    """Return the same as ``entries_of``, for the process that writes there.

    A manifest that it wrote last is not parsed again, so tuples in a run state are not lists yet.
    """
    try:
        text = backend_for(manifest_of(path)).read()
    except FileNotFoundError:
        return []
    return next((list(entries) for known, entries in tuple(_WRITTEN) if known == text), None) or list(_parse(text))


def write_manifest(path: Location, entries: list[ManifestEntry]) -> None:
    """Replace the manifest of a payload with one that has these entries, newest first."""
    start, rest = '{"digest":"', f'","format":{FORMAT},"entries":[{",".join(entry.text for entry in entries)}]}}'
    digest = hashlib.sha256(f"{start}{rest}".encode()).hexdigest()
    text = f"{start}{digest}{rest}"
    backend_for(manifest_of(path)).replace(text)
    _WRITTEN.append((text.encode(), tuple(entries)))


def _is_intact(text: bytes) -> bool:
    """Return whether a manifest's text has the digest that it names."""
    signed = SIGNED.match(text)
    if signed is None:
        return False
    return hashlib.sha256(signed[1] + text[signed.end(2) :]).hexdigest().encode() == signed[2]
