"""Locations of files as values: paths on this machine, and URLs of the remote stores that fsspec supports."""

from __future__ import annotations

import os
import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from ..errors import SettingsError

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
_SQUEEZED = re.compile(r"(abfss?|az|gcs|gs|hdfs|https?|memory|s3a?|sftp):[/\\](?![/\\])", re.IGNORECASE)
"""Matches a URL that was converted to a ``pathlib`` path, which removes one slash."""


@dataclass(frozen=True, order=True, slots=True, repr=False)
class RemotePath:
    """The URL of a file or directory in a remote store, with the ``pathlib.PurePath`` methods that need no request.

    >>> best = location("s3://bucket/run/best.pt")
    >>> best.name, best.suffix, str(best.parent), str(best.with_name("last.pt"))
    ('best.pt', '.pt', 's3://bucket/run', 's3://bucket/run/last.pt')
    """

    protocol: str
    key: str
    """The part after "://": bucket, host or first directory, then the other parts, separated by "/"."""

    def __str__(self) -> str:
        return f"{self.protocol}://{self.key}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.protocol, posixpath.normpath(posixpath.join(self.key, name)))

    @property
    def name(self) -> str:
        """The last part of the key; empty for the store itself."""
        return posixpath.basename(self.key)

    @property
    def suffix(self) -> str:
        """The suffix of the last part with its dot; empty if it has none."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> RemotePath:
        """The parent directory."""
        return RemotePath(self.protocol, posixpath.dirname(self.key))

    def with_name(self, name: str) -> RemotePath:
        """Return the location with another name in the same directory."""
        return self.parent / name

    def resolve(self) -> RemotePath:
        """Return this location unchanged, since a URL does not depend on the working directory."""
        return self


Location: TypeAlias = Path | RemotePath

Source: TypeAlias = str | os.PathLike[str] | RemotePath
"""The types that users may pass as a location."""
AUTO = "auto"
"""The value of ``resume`` that looks for the newest checkpoint of the callbacks."""


def location(source: Source) -> Location:
    """Convert a string or a path to a location; ``file://`` URLs become paths on this machine's disk.

    Raises:
        SettingsError: The source is a URL from which ``pathlib`` removed a slash, or a chain of URLs.

    >>> location("s3://bucket/run//best.pt"), location("file:///tmp/best.pt").as_posix()
    (RemotePath('s3://bucket/run/best.pt'), '/tmp/best.pt')
    >>> location(Path("s3://bucket/best.pt"))
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: 's3:/bucket/best.pt': pathlib removes a slash from URLs; give the string 's3://bucket/...
    """
    if isinstance(source, RemotePath):
        return source
    text = os.fspath(source)
    return _parsed(text) if text.startswith("~") else _known(text)  # the home directory may change


def _parsed(text: str) -> Location:
    if _SQUEEZED.match(text):
        right = re.sub(r":[/\\]", "://", text, count=1)
        raise SettingsError(f"{text!r}: pathlib removes a slash from URLs; give the string {right!r}")
    match = _URL.fullmatch(text)
    if "::" in text and "://" in text:
        raise SettingsError(f"{text!r} is a chain of URLs; give the URL of the store itself, such as s3://bucket/run")
    if match is None:
        return Path(expanded(text))
    protocol, key = match[1].lower(), match[2]
    if protocol in ("file", "local"):
        return Path(key)
    return RemotePath(protocol, posixpath.normpath(key) if key else "")


_known = lru_cache(maxsize=256)(_parsed)
"""The same for texts that were parsed before: a run names the same few files in each epoch."""


def _real(path: Path) -> Path:
    """Resolve the links in a path's directory, but not a link at its end, since a save replaces that link."""
    return Path(os.path.realpath(path)) if path.name in ("", "..") else Path(os.path.realpath(path.parent), path.name)


def as_text(place: Location) -> str:
    """Return a text that ``location`` converts back to the same location.

    >>> as_text(Path("~a")), as_text(Path("run/a")), as_text(location("s3://bucket/a"))
    ('./~a', 'run/a', 's3://bucket/a')
    """
    text = place.as_posix() if isinstance(place, Path) else str(place)
    return f"./{text}" if text.startswith("~") else text


class StartDirectory:
    """The working directory at construction; a run's relative paths start there even if the loop changes directory.

    >>> StartDirectory().fixed(location("a")) == Path.cwd() / "a"
    True
    """

    def __init__(self) -> None:
        try:
            self._directory = Path.cwd()
        except OSError:  # the directory was deleted, so nothing can be saved relative to it
            self._directory = Path()

    def fixed(self, place: Location) -> Location:
        """Return the absolute form of a location, with ``..`` resolved, since it may lead through a link."""
        if not isinstance(place, Path):
            return place
        full = place if place.is_absolute() else self._directory / place
        return _real(full) if ".." in full.parts else full

    def identity(self, place: Location) -> Location:
        """Return one canonical form for all paths to the same file, including paths through links to its directory."""
        return _real(self._directory / place) if isinstance(place, Path) else place

    def shown(self, place: Location) -> Location:
        """Return a location that is valid now: made absolute if the working directory has changed."""
        full = self._directory / place if isinstance(place, Path) else place
        return full if StartDirectory().fixed(place) != self.fixed(place) else place

    def present(self, given: str, relative: str, directory: Location) -> str:
        """Convert a stored path to a path that is valid now.

        Args:
            given: The path as the user gave it.
            relative: The same path relative to the directory where it is stored, as ``relative_to`` returns it.
            directory: The directory where the path is stored, which may have been copied or moved since.

        >>> StartDirectory().present("run/a.pt", "a.pt", Path("run")), StartDirectory().present("a", "a", Path("/b"))
        ('run/a.pt', '/b/a')
        """
        found = resolve_relative(directory, relative)
        place = Path(os.path.normpath(found)) if isinstance(found, Path) else found
        with suppress(SettingsError, ValueError):  # for example a null character
            if self.identity(location(given)) == self.identity(place):
                return given
        return as_text(place)


def absolute(source: Source) -> str:
    """Return the absolute form of a location, with links followed as far as they exist.

    >>> absolute("/tmp/../tmp/a"), absolute("s3://bucket/a")
    ('/tmp/a', 's3://bucket/a')
    """
    place = location(source)
    # unlike Path.resolve, this never raises, not even for a link that leads to itself
    return os.path.realpath(place) if isinstance(place, Path) else str(place)


def absolute_entry(source: Source) -> str:
    """Return the absolute form of a location with the links in its directory resolved; a save replaces this path.

    >>> absolute_entry("/tmp/../tmp/a"), absolute_entry("s3://bucket/a")
    ('/tmp/a', 's3://bucket/a')
    """
    place = location(source)
    if not isinstance(place, Path) or place.name in ("", ".."):
        return absolute(source)
    return str(Path(os.path.realpath(place.parent), place.name))


def expanded(path: str) -> str:
    """Return a path with a leading "~" replaced by the home directory.

    Raises:
        SettingsError: The path begins with the name of an unknown user.

    >>> expanded("~/run") == str(Path.home() / "run"), expanded("run/~"), expanded("./~")
    (True, 'run/~', './~')
    """
    found = os.path.expanduser(path)  # noqa: PTH111 - as text, since Path would drop the "./" of "./~"
    if found.startswith("~"):
        user = re.split(r"[/\\]", found)[0]
        way = f"write {'./' + path!r} for a name that begins with ~"
        raise SettingsError(f"{path!r}: there is no home directory of {user!r}; {way}")
    return found


def is_local(source: Source) -> bool:
    """Return whether the source is on this machine's disk; only there can files be appended to.

    >>> is_local("runs"), is_local("s3://bucket/runs")
    (True, False)
    """
    return isinstance(location(source), Path)


def relative_to(path: Location, directory: Location) -> str:
    """Return a path relative to a directory, so that both can be moved together; see ``resolve_relative``.

    >>> relative_to(location("s3://bucket/run/a.pt"), location("s3://bucket/run/deep"))
    '../a.pt'
    """
    if isinstance(path, Path) and isinstance(directory, Path):
        if path.name and path.parent == directory and ".." not in path.parts:  # as it is for most files
            return path.name
        return os.path.relpath(path, directory)
    if isinstance(path, RemotePath) and isinstance(directory, RemotePath) and path.protocol == directory.protocol:
        return posixpath.relpath(f"/{path.key}", f"/{directory.key}")
    return absolute(path)


def resolve_relative(directory: Location, text: str) -> Location:
    """Convert a result of ``relative_to`` back to a location, relative to this directory.

    >>> resolve_relative(location("s3://bucket/run/deep"), "../a.pt")
    RemotePath('s3://bucket/run/a.pt')
    >>> resolve_relative(location("s3://bucket"), "/tmp/a.pt").as_posix()
    '/tmp/a.pt'
    """
    return location(text) if _URL.fullmatch(text) or Path(text).is_absolute() else directory / text
