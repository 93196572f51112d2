"""Stores of fsspec: in memory, on disk, on local servers; a process may die at any call to them."""

import atexit
import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tests.servers import SERVERS
from trainbus.storage.paths import RemotePath, location

__all__ = ["STORES", "Died", "dying_at", "new_directory"]

STORES = ("memory", "disk", *SERVERS)


class Disk(LocalFileSystem):
    """Real files behind URLs: a store in which an unfinished upload is visible."""

    protocol = "disk"
    root_marker: ClassVar[str] = "/"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return LocalFileSystem._strip_protocol(str(path).removeprefix("disk://"))

    def put_file(self, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
        data = Path(lpath).read_bytes()
        with Path(rpath).open("wb") as target:
            target.write(data[: len(data) // 2])
            target.flush()
            self.half_written()
            target.write(data[len(data) // 2 :])

    def half_written(self) -> None:
        """A point at which the process may die."""


fsspec.register_implementation("disk", Disk, clobber=True)

CALLS = {
    "memory": (
        "fsspec.implementations.memory:MemoryFileSystem",
        "info ls cat_file get_file put_file pipe_file cp_file rm_file",
    ),
    "disk": (f"{__name__}:Disk", "info ls cat_file get_file pipe_file mv rm_file makedirs half_written"),
    "s3": ("s3fs:S3FileSystem", "_call_s3"),
    "gs": ("gcsfs.core:GCSFileSystem", "_request"),
    "az": ("azure.core.pipeline.transport:AioHttpTransport", "send"),
}
"""The calls of a store's library at which a process may die; for servers, each single request."""


class Died(OSError):
    """The process counts as dead: the store does nothing that it asks for from now on."""


@contextmanager
def dying_at(store: str, step: int) -> Iterator[Callable[[], bool]]:
    """Let the ``step``-th call of a store's library fail, and each later one; yield whether it was reached."""
    calls, seen = count(), [0]
    library, names = resolve_name(CALLS[store][0]), CALLS[store][1].split()
    real = {name: getattr(library, name) for name in names}

    def failing(name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            seen[0] = next(calls)
            if seen[0] >= step:
                raise Died("the process is dead")
            return real[name](*args, **options)

        return call

    inherited = {name for name in names if name not in vars(library)}
    try:
        for name in names:
            setattr(library, name, failing(name))
        yield lambda: seen[0] >= step
    finally:
        for name in names:
            delattr(library, name) if name in inherited else setattr(library, name, real[name])


@functools.cache
def disk() -> str:
    """Return a directory of this process, which goes with it, but not with one that was forked from it."""
    made, owner = tempfile.mkdtemp(), os.getpid()
    atexit.register(lambda: shutil.rmtree(made, ignore_errors=True) if os.getpid() == owner else None)
    return made


def new_directory(store: str) -> RemotePath:
    """Return a new empty directory."""
    places = {"memory": "memory://tests", "disk": f"disk://{disk()}"}
    found = location(f"{places.get(store, f'{store}://bucket')}/{secrets.token_hex(8)}")
    assert isinstance(found, RemotePath)
    return found
