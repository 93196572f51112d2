"""What can be done with files, wherever they lie: on this machine's disk, or in a store that fsspec reaches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path
from typing import ClassVar, Protocol

from .atomic_file import Staged
from .local import LocalBackend
from .paths import Location
from .sharded_directory import digest_of_parts, parts_in

__all__ = ["Backend", "Reading", "backend_for", "digest_at", "existing"]


class Backend(Protocol):
    """One location and what can be done there; what a store cannot do raises an `OSError`, whatever its library."""

    is_local: ClassVar[bool]
    """Whether asking takes microseconds, so that the training may wait for the answer."""

    def size(self) -> int | None:
        """Length of the file in bytes; None where no file is."""
        ...

    def is_directory(self) -> bool:
        """Whether files lie below it, or could."""
        ...

    def list_names(self) -> list[str]:
        """The names in the directory."""
        ...

    def glob(self) -> list[Location]:
        """What is called as this location, taken as a pattern for `glob`."""
        ...

    def read(self) -> bytes:
        """The whole file."""
        ...

    def open(self) -> AbstractContextManager[Reading]:
        """The file opened, as it is now."""
        ...

    def as_local_file(self) -> AbstractContextManager[Path]:
        """The file as one on this machine, for whoever can read no others."""
        ...

    def stage(self, write: Callable[[Path], object]) -> Staged:
        """Let `write` make a file on this machine that could take the place of this one, of the same suffix.

        What lies there is compared with the digest that `write` may return, of what it meant to write.
        """
        ...

    def publish(self, staged: Path) -> None:
        """Put a staged file here, in one step; it is there for good when this returns."""
        ...

    def replace(self, text: str) -> None:
        """Make `text` the content, in one step; it is there for good when this returns."""
        ...

    def hard_link(self, name: str) -> None:
        """Give the file a second name in its directory, which stays when this one is replaced or removed."""
        ...

    def remove(self) -> None:
        """Remove the file; one that is gone already is no error."""
        ...

    def acquire_lock(self, name: str) -> Callable[[], object]:
        """Own the directory by the file `name` in it; what is returned gives it back.

        Raises:
            Held: somebody else owns it.
        """
        ...

    def remove_debris(self) -> None:
        """Remove what writers that died have left in the directory; only for its owner."""
        ...


class Reading(Protocol):
    """A file that stays what it is, whatever happens to its location."""

    @property
    def file(self) -> BufferedReader:
        """Its bytes."""
        ...

    def replaced(self) -> bool:
        """Whether something else is at its location now."""
        ...


def backend_for(location: Location) -> Backend:
    """What can be done at a location.

    Raises:
        MissingDependency: the package that reaches its store is not installed.
        SettingsError: no store has such URLs.
    """
    if isinstance(location, Path):
        return LocalBackend(location)
    from .remote import RemoteBackend  # noqa: PLC0415 - only who names a URL needs fsspec

    return RemoteBackend(location)


def existing(locations: Iterable[Location]) -> list[Location]:
    """Those where something is, or where that cannot be told; each directory is asked once."""
    asked: dict[Location, Container[str]] = {}
    found: list[Location] = []
    for each in locations:
        if each.parent not in asked:
            try:
                asked[each.parent] = set(backend_for(each.parent).list_names())
            except (FileNotFoundError, NotADirectoryError):
                asked[each.parent] = ()
            except OSError:
                asked[each.parent] = (each.name,)
        if each.name in asked[each.parent]:
            found.append(each)
    return found


def digest_at(location: Location) -> str:
    """The SHA-256 digest of a file, or of the parts of a directory, in hexadecimal digits."""
    if isinstance(location, Path) and location.is_dir():
        return digest_of_parts(parts_in(location))
    with backend_for(location).open() as reading:
        return hashlib.file_digest(reading.file, "sha256").hexdigest()
