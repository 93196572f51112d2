"""Where a file lies: a path on this machine, or a URL in a store that fsspec reaches. Values, which touch neither."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from ..errors import SettingsError

__all__ = ["Location", "RemotePath", "Source", "is_local", "location", "relative_to", "resolve_relative"]

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
_SQUEEZED = re.compile(r"(abfss?|az|gcs|gs|hdfs|https?|memory|s3a?|sftp):[/\\](?![/\\])", re.IGNORECASE)
"""What `pathlib` makes of a URL."""


@dataclass(frozen=True, order=True, slots=True, repr=False)
class RemotePath:
    """The URL of a file or directory in a store, with what of `pathlib.PurePath` needs no store to be asked.

    >>> best = location("s3://bucket/run/best.pt")
    >>> best.name, best.suffix, str(best.parent), str(best.with_name("last.pt"))
    ('best.pt', '.pt', 's3://bucket/run', 's3://bucket/run/last.pt')
    """

    protocol: str
    key: str
    """What follows "://": bucket, host or first directory, then the rest, parted by "/"."""

    def __str__(self) -> str:
        return f"{self.protocol}://{self.key}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.protocol, posixpath.normpath(posixpath.join(self.key, name)))

    @property
    def name(self) -> str:
        """The last part; empty for the store itself."""
        return posixpath.basename(self.key)

    @property
    def suffix(self) -> str:
        """The suffix of the last part, with its dot; empty for none."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> RemotePath:
        """The directory in which it lies."""
        return RemotePath(self.protocol, posixpath.dirname(self.key))

    def with_name(self, name: str) -> RemotePath:
        """Another name in the same directory."""
        return self.parent / name

    def resolve(self) -> RemotePath:
        """Itself: it depends on no working directory."""
        return self


Location: TypeAlias = Path | RemotePath

Source: TypeAlias = str | os.PathLike[str] | RemotePath
"""How people write a location."""


def location(source: Source) -> Location:
    """The place that a text or a path names; `file://` is this machine's own disk.

    Raises:
        SettingsError: it is a URL that `pathlib` has spoilt, or a chain of them.

    >>> location("s3://bucket/run//best.pt"), location("file:///tmp/best.pt").as_posix()
    (RemotePath('s3://bucket/run/best.pt'), '/tmp/best.pt')
    >>> location(Path("s3://bucket/best.pt"))
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: 's3:/bucket/best.pt': pathlib takes a slash out of URLs; give the text 's3://bucket/...
    """
    if isinstance(source, RemotePath):
        return source
    text = os.fspath(source)
    if _SQUEEZED.match(text):
        right = re.sub(r":[/\\]", "://", text, count=1)
        raise SettingsError(f"{text!r}: pathlib takes a slash out of URLs; give the text {right!r}")
    match = _URL.fullmatch(text)
    if "::" in text and "://" in text:
        raise SettingsError(f"{text!r} is a chain of URLs; checkpoints need the store itself, as s3://bucket/run")
    if match is None:
        return Path(source)
    protocol, key = match[1].lower(), match[2]
    if protocol in ("file", "local"):
        return Path(key)
    return RemotePath(protocol, posixpath.normpath(key) if key else "")


def is_local(source: Source) -> bool:
    """Whether it is a path of this machine, where a file can grow while it is written; in a store none can.

    >>> is_local("runs"), is_local("s3://bucket/runs")
    (True, False)
    """
    return isinstance(location(source), Path)


def relative_to(path: Location, directory: Location) -> str:
    """How to get from a directory to a path, so that both may be moved together; `resolve_relative` goes that way.

    >>> relative_to(location("s3://bucket/run/a.pt"), location("s3://bucket/run/deep"))
    '../a.pt'
    """
    if isinstance(path, Path) and isinstance(directory, Path):
        return os.path.relpath(path, directory)
    if isinstance(path, RemotePath) and isinstance(directory, RemotePath) and path.protocol == directory.protocol:
        return posixpath.relpath(f"/{path.key}", f"/{directory.key}")
    return str(path.resolve())


def resolve_relative(directory: Location, text: str) -> Location:
    """Where one gets from a directory by what `relative_to` has given.

    >>> resolve_relative(location("s3://bucket/run/deep"), "../a.pt")
    RemotePath('s3://bucket/run/a.pt')
    >>> resolve_relative(location("s3://bucket"), "/tmp/a.pt").as_posix()
    '/tmp/a.pt'
    """
    return location(text) if _URL.fullmatch(text) or Path(text).is_absolute() else directory / text
