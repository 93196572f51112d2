"""The backend for remote stores, based on fsspec."""

# most of fsspec has no type annotations
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

from ..errors import MissingDependency, SettingsError
from ..failures import LOG
from ..metrics.names import hint
from . import remote_cache
from .atomic_file import STAGED, discard, suffix_of
from .file_kind import check_searched, check_size
from .locks.lease import Lease, acquire
from .locks.owner import Parts
from .paths import Location, RemotePath

try:
    import fsspec
    from fsspec.registry import known_implementations
except ImportError as error:
    raise MissingDependency(f"{error}; URLs need fsspec: pip install 'trainbus[remote]'") from error

ATOMIC_UPLOADS = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oci", "oss", "s3", "s3a"})
"""Stores in which a complete upload replaces the object atomically."""

NETWORK = "check the address and the network connection"
OLD = "update the library of the store (pip install -U)"
RIGHTS = "check that the credentials are valid for this store and allow reading, writing, listing and deleting"
AZURE = "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and log in (az login)"
FIXES = {
    "ClientConnector": NETWORK,
    "ServiceRequestError": NETWORK,
    "EndpointConnectionError": "check the address (AWS_ENDPOINT_URL) and the network connection",
    "NoCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in (aws configure)",
    "PartialCredentialsError": "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in (aws configure)",
    "Anonymous caller": "set GOOGLE_APPLICATION_CREDENTIALS, or log in (gcloud auth application-default login)",
    "unable to connect to account": AZURE,
    "DefaultAzureCredential failed": AZURE,
    "Server failed to authenticate": RIGHTS,
    "not authorized to perform": RIGHTS,
    "Forbidden": RIGHTS,
    "PermissionError": RIGHTS,
    "NotImplementedError": OLD,
    "unexpected keyword argument": OLD,
}
"""Part of the type name or message of an error of any library, mapped to advice on how to fix it."""

COPY_SECONDS = 60.0
"""Seconds after which a copy inside a store is considered failed."""

_LEASES: WeakValueDictionary[RemotePath, Lease] = WeakValueDictionary()
"""The directories that runs of this process have locked."""


@dataclass(frozen=True, slots=True)
class RemoteOpenFile:
    """An open copy of an object, on this machine."""

    file: BufferedReader
    backend: RemoteBackend
    version: str

    def replaced(self) -> bool:
        """Return whether the object changed since it was copied."""
        return self.backend.version() != self.version


class RemoteBackend:
    """A URL; ``trainbus.storage.backend.Backend`` documents the methods."""

    is_local: ClassVar[bool] = False

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        with _as_os_error():
            self._key = str(_file_system_class(path.protocol)._strip_protocol(str(path)))  # noqa: SLF001

    @property
    def _files(self) -> Any:
        """The store's file system; fsspec keeps one for each thread, and makes a new one after a fork."""
        files: Any = fsspec.core.url_to_fs(str(self.path))[0]
        files.invalidate_cache()  # other processes also write there
        return files

    def size(self) -> int | None:
        kind, size = self._info()
        return size if kind == "file" else None

    def is_directory(self) -> bool:
        return self._info()[0] == "directory"

    def list_names(self) -> list[str]:
        with _as_os_error():
            found = [str(name).rstrip("/") for name in self._files.ls(self._key, detail=False)]
        own = self._key.rstrip("/")  # some stores list the directory as one of its files
        return [name.rpartition("/")[2] for name in found if name != own]

    def files_below(self) -> Iterator[Location]:
        own = f"{self._key.strip('/')}/"
        with _as_os_error():
            names = [str(name).lstrip("/") for name in self._files.find(self._key)]
        check_searched(len(names), self.path)
        for name in names:
            if not name.startswith(own):
                raise _StoreError(f"{str(self.path)!r} lists a file elsewhere: {name!r}")
            yield self.path / name[len(own) :]

    def glob(self) -> list[Location]:
        with _as_os_error():
            found = [str(name).rstrip("/").split("/") for name in self._files.glob(self._key)]
        # the returned names may lack the host or the account, so only the parts from the first wildcard on are used
        parts = self.path.key.split("/")
        known = next((number for number, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
        keys = [[*parts[:known], *names[len(names) - len(parts) + known :]] for names in found]
        return [RemotePath(self.path.protocol, "/".join(key)) for key in keys]

    def read(self) -> bytes:
        check_size(self.size() or 0, self.path)
        with _as_os_error():
            return bytes(self._files.cat_file(self._key))

    @contextmanager
    def open(self) -> Generator[RemoteOpenFile]:
        version = self.version()
        copy = self._download()
        try:
            with copy.open("rb") as file:
                yield RemoteOpenFile(file, self, version)
        finally:
            remote_cache.keep(f"{self.path} {version}", copy)

    @contextmanager
    def as_local_file(self) -> Generator[Path]:
        copy = remote_cache.take(lambda: f"{self.path} {self.version()}") or self._download()
        try:
            yield copy
        finally:
            discard(copy)

    def _download(self) -> Path:
        copy = _new_file(self.path)
        try:
            with _as_os_error():
                self._files.get_file(self._key, str(copy))
        except BaseException:
            discard(copy)
            raise
        return copy

    def version(self) -> str:
        """Return a string that changes whenever the object changes."""
        with _as_os_error():
            return str(self._files.ukey(self._key))

    def new_file(self) -> Path:
        if self.is_directory():
            raise IsADirectoryError(f"{str(self.path)!r} is a directory; name a file in it")
        return _new_file(self.path)

    def publish(self, staged: Path) -> None:
        try:
            self._put(lambda key: self._files.put_file(str(staged), key))
        finally:
            discard(staged)

    def replace(self, text: str) -> None:
        self._put(lambda key: self._files.pipe_file(key, text.encode()))

    def hard_link(self, name: str) -> None:
        copy = self.sibling(name)
        with _as_os_error():
            self._files.cp_file(self._key, copy._key)  # noqa: SLF001
        size, end = self.size(), time.monotonic() + COPY_SECONDS
        while copy.size() != size:  # Azure may copy asynchronously; until then the copy is empty
            if time.monotonic() > end:
                raise TimeoutError(f"{str(self.path)!r} was not copied within {COPY_SECONDS:.0f} s")
            time.sleep(COPY_SECONDS / 100)

    def rename(self, name: str) -> None:
        self._check_leases()
        self.hard_link(name)
        self.remove()

    def remove(self) -> None:
        with _as_os_error(), suppress(FileNotFoundError):
            self._files.rm_file(self._key)

    def acquire_lock(
        self, name: str, report: Callable[[], object] = lambda: None, below: Collection[Parts] = ()
    ) -> Callable[[], object]:
        """Lock the directory with a lease, since stores do not support locks."""
        lease = _LEASES[self.path] = acquire(type(self)(self.path / name), str(self.path))

        def release() -> None:
            _LEASES.pop(self.path, None)
            lease.release()

        return release

    def remove_debris(self) -> None:
        remote_cache.remove_stale_directories()
        try:
            self._remove_partial_uploads()
        except FileNotFoundError:  # the directory does not exist yet
            return
        except OSError as error:  # listing partial uploads needs a separate permission
            LOG.warning("%s: partial uploads of killed runs cannot be removed: %s", self.path, error)

    def _remove_partial_uploads(self) -> None:
        if self.path.protocol not in ATOMIC_UPLOADS:
            for name in self.list_names():
                if name.startswith(STAGED):
                    type(self)(self.path / name).remove()
            return
        with _as_os_error():
            files = self._files
            if hasattr(files, "list_multipart_uploads"):  # S3 keeps partial uploads, but does not list them as objects
                bucket, _, prefix = self._key.partition("/")
                for upload in files.list_multipart_uploads(bucket):
                    if upload["Key"].startswith(f"{prefix}/" if prefix else ""):
                        files.abort_mpu(bucket, upload["Key"], upload["UploadId"])

    def create(self, text: str) -> bool:
        """Make the object and return True; return False if it exists."""
        try:
            with _as_os_error():
                self._make_directory()
                self._files.pipe_file(self._key, text.encode(), mode="create")
        except FileExistsError:
            return False
        except FileNotFoundError as error:  # the errors of some libraries contain only the address of the request
            raise _StoreError(f"{self._key.partition('/')[0]!r} does not exist") from error
        return True

    def sibling(self, name: str) -> Self:
        """Return another object in the same directory."""
        return type(self)(self.path.with_name(name))

    def _info(self) -> tuple[str, int]:
        """Return the type of the object ("" if there is none) and its size."""
        with _as_os_error():
            try:
                found = self._files.info(self._key)
            except FileNotFoundError:
                return "", 0
        return str(found["type"]), int(found["size"] or 0)

    def _put(self, put: Callable[[str], object]) -> None:
        """Replace the object atomically; ``put`` writes to the key that it is called with."""
        self._check_leases()
        with _as_os_error():
            if self.path.protocol in ATOMIC_UPLOADS:
                put(self._key)
                return
            self._make_directory()
            staged = self.sibling(f"{STAGED}{secrets.token_hex(8)}{suffix_of(self.path)}")
            try:
                put(staged._key)  # noqa: SLF001
                self._rename(staged._key)  # noqa: SLF001
            except BaseException:
                with suppress(Exception):
                    staged.remove()
                raise

    def _check_leases(self) -> None:
        """Raise an error if another run has taken over the directory."""
        for lease in [reference() for reference in _LEASES.valuerefs()]:
            if lease is not None and lease.lost and str(self.path).startswith(f"{lease.directory}/"):
                raise OSError(
                    f"{lease.directory!r} was taken over by another run ({lease.lost}); give each run its own directory"
                )

    def _rename(self, staged: str) -> None:
        files = self._files
        if type(files).mv is not fsspec.AbstractFileSystem.mv:
            files.mv(staged, self._key)
        else:  # the default ``mv`` interprets brackets in names as patterns
            files.cp_file(staged, self._key)
            files.rm_file(staged)

    def _make_directory(self) -> None:
        if self.path.protocol not in ATOMIC_UPLOADS:
            self._files.makedirs(self._files._parent(self._key), exist_ok=True)  # noqa: SLF001


@cache
def _file_system_class(protocol: str) -> Any:
    """Return fsspec's file system class for a protocol.

    Raises:
        MissingDependency: The package for the protocol is not installed.
        SettingsError: fsspec does not support the protocol.
    """
    url = f"{protocol}://"
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = str(known_implementations[protocol]["class"]).partition(".")[0]
        wanted = package if package != fsspec.__name__ else f"'fsspec[{protocol}]'"
        raise MissingDependency(f"{url} cannot be used: {error}; pip install {wanted}") from error
    except ValueError:
        known = fsspec.available_protocols()
        near = hint(protocol, known)
        raise SettingsError(f"fsspec has no file system for {url}{near} known: {', '.join(known)}") from None


@contextmanager
def _as_os_error() -> Generator[None]:
    """Convert any error of a library into an ``OSError`` with a one-line message: what failed, and how to fix it."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, IsADirectoryError, MissingDependency, SettingsError, _StoreError):
        raise
    except Exception as error:
        name = type(error).__name__
        what = " ".join(str(error).partition("\nRequestId:")[0].split()) or name  # the rest is for Azure's support team
        fix = next((fix for sign, fix in FIXES.items() if sign in f"{name}: {what}"), "")
        raise _StoreError(f"{what}; {fix}" if fix else what) from error


class _StoreError(OSError):
    """A request to a store failed."""


def _new_file(path: RemotePath) -> Path:
    """Make an empty file on this machine, with the same suffix."""
    handle, name = tempfile.mkstemp(suffix=suffix_of(path), dir=remote_cache.process_directory())
    os.close(handle)
    return Path(name)
