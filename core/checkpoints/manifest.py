"""Manifests: what may be found at a payload's path, each content with the moment of the run that it holds."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..storage.backend import backend_for
from ..storage.paths import Location
from ..storage.sharded_directory import Part

__all__ = ["MANIFEST", "Manifest", "ManifestEntry", "entries_of", "manifest_of", "manifest_problem", "write_manifest"]

MANIFEST = ".trainbus.json"
"""What is added to a payload's name for the name of its manifest."""
SIGNED = re.compile(rb'(\{\s*"digest":\s*")([0-9a-f]*)')
"""How a manifest begins."""


class ManifestEntry(BaseModel):
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
    contents: list[ManifestEntry]


def manifest_of(path: Location) -> Location:
    """Where the manifest of a payload lies.

    >>> from pathlib import Path
    >>> manifest_of(Path("runs/best.pt")).as_posix()
    'runs/best.pt.trainbus.json'
    """
    return path.with_name(path.name + MANIFEST)


def entries_of(path: Location) -> list[ManifestEntry]:
    """What the manifest of a payload has, newest first; nothing where it is not there, or not as it was written."""
    try:
        text = backend_for(manifest_of(path)).read()
    except FileNotFoundError:
        return []
    signed = SIGNED.match(text)
    if signed is None or _digest(signed[1] + text[signed.end(2) :]) != signed[2]:
        return []
    try:
        return Manifest.model_validate_json(text).contents
    except ValidationError:
        return []


def manifest_problem(path: Location) -> str:
    """What is wrong with the manifest of a payload, where it tells of no content."""
    manifest = manifest_of(path)
    return f"its manifest {manifest.name!r} is {'missing' if backend_for(manifest).size() is None else 'damaged'}"


def write_manifest(path: Location, contents: list[ManifestEntry]) -> None:
    """Let the manifest of a payload have these contents, newest first."""
    text = Manifest(contents=contents).model_dump_json()
    unsigned = SIGNED.match(text.encode())
    assert unsigned is not None, "digest is the first field"
    start = unsigned[1].decode()
    backend_for(manifest_of(path)).replace(start + _digest(text.encode()).decode() + text.removeprefix(start))


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
