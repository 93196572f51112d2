"""File operations that work the same on this machine's disk and in the remote stores that fsspec supports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path
from typing import ClassVar, Protocol

from .local import LocalBackend
from .locks.owner import Parts
from .paths import Location
from .sharded_directory import digest_of_parts, parts_in


class Backend(Protocol):
    """One location and the operations on it; any error of a store's library is raised as an ``OSError``."""

    is_local: ClassVar[bool]
    """Whether operations take only microseconds, so that the training may wait for them."""

    def size(self) -> int | None:
        """Return the length of the file in bytes; None if there is no file."""
        ...

    def files_below(self) -> Iterator[Location]:
        """Yield all files in the directory and in all directories below it, links followed.

        Raises:
            OSError: Some cannot be listed, or there are more than ``limits.SEARCHED``.
        """
        ...

    def is_directory(self) -> bool:
        """Return whether the location is a directory."""
        ...

    def list_names(self) -> list[str]:
        """Return the names in the directory."""
        ...

    def glob(self) -> list[Location]:
        """Return the existing locations that match this location, interpreted as a ``glob`` pattern."""
        ...

    def read(self) -> bytes:
        """Return the content of the file."""
        ...

    def open(self) -> AbstractContextManager[OpenFile]:
        """Open the file for reading; a later replacement does not change what is read."""
        ...

    def as_local_file(self) -> AbstractContextManager[Path]:
        """Provide the file as a path on this machine, for libraries that read local files only."""
        ...

    def new_file(self) -> Path:
        """Make an empty staged file on this machine, with the same suffix; ``publish`` moves it to this location."""
        ...

    def publish(self, staged: Path) -> None:
        """Move a staged file to this location, atomically and durably."""
        ...

    def replace(self, text: str) -> None:
        """Replace the content with ``text``, atomically and durably."""
        ...

    def hard_link(self, name: str) -> None:
        """Give the file a second name in its directory, which remains if this location is replaced or removed."""
        ...

    def rename(self, name: str) -> None:
        """Give the file another name in its directory, in place of the file that has it.

        On a disk this is one step. In a store the file has both names for a moment, so that a death loses nothing.
        """
        ...

    def remove(self) -> None:
        """Remove the file; do nothing if it does not exist."""
        ...

    def acquire_lock(
        self, name: str, report: Callable[[], object] = lambda: None, below: Collection[Parts] = ()
    ) -> Callable[[], object]:
        """Lock the directory with the lock file ``name`` in it, and return a function that releases the lock.

        Args:
            name: The name of the lock file.
            report: Called after a removed lock file was made and locked again.
            below: Patterns of the directories below this one in which the run may save; not used in a store.

        Raises:
            DirectoryLocked: Another run holds the lock.
        """
        ...

    def remove_debris(self) -> None:
        """Remove staged files that killed processes left in the directory; call this only while holding its lock."""
        ...


class OpenFile(Protocol):
    """An open file, whose content does not change if the location is replaced."""

    @property
    def file(self) -> BufferedReader:
        """The file object to read from."""
        ...

    def replaced(self) -> bool:
        """Return whether the location now holds a different file."""
        ...


def backend_for(location: Location) -> Backend:
    """Return the backend of a location.

    Raises:
        MissingDependency: The package for its store is not installed.
        SettingsError: No known store has URLs with this protocol.
    """
    if isinstance(location, Path):
        return LocalBackend(location)
    from .remote import RemoteBackend  # noqa: PLC0415 - only URLs need fsspec

    return RemoteBackend(location)


def existing(locations: Iterable[Location]) -> list[Location]:
    """Return the locations that exist, and those whose directory cannot be read; list each directory only once."""
    names: dict[Location, Container[str]] = {}
    found: list[Location] = []
    for each in locations:
        if each.parent not in names:
            try:
                names[each.parent] = set(backend_for(each.parent).list_names())
            except (FileNotFoundError, NotADirectoryError):
                names[each.parent] = ()
            except OSError:
                names[each.parent] = (each.name,)
        if each.name in names[each.parent]:
            found.append(each)
    return found


def digest_at(location: Location) -> str:
    """Return the SHA-256 digest of a file, or of the parts of a directory, in hexadecimal digits."""
    if isinstance(location, Path) and location.is_dir():
        return digest_of_parts(parts_in(location))
    with backend_for(location).open() as payload:
        return hashlib.file_digest(payload.file, "sha256").hexdigest()
