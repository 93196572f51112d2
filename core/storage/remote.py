"""What can be done with a file in a store that fsspec reaches."""

# fsspec declares few types
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Generator
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
from . import remote_cache as staging
from .atomic_file import STAGED, Staged, discard, filled, suffix_of
from .lease import Lease, take
from .paths import Location, RemotePath

try:
    import fsspec
    from fsspec.registry import known_implementations
except ImportError as error:
    raise MissingDependency(f"{error}; URLs are reached by fsspec: pip install 'trainbus[remote]'") from error

__all__ = ["RemoteBackend", "RemoteReading"]

WHOLE = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oci", "oss", "s3", "s3a"})
"""Stores in which an upload appears as a whole when it is complete, in the place of what was there."""

NETWORK = "is its address right, and the network up?"
OLD = "is the store's library up to date (pip install -U)?"
RIGHTS = "do the credentials belong to this store, with the right to read, write, list and delete there?"
AZURE = "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and log in (az login)"
FIXES = {
    "ClientConnector": NETWORK,
    "ServiceRequestError": NETWORK,
    "EndpointConnectionError": "is its address right (AWS_ENDPOINT_URL), and the network up?",
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
"""Part of the name of an error, by whatever library, or of what it says, to what can be done about it."""

PATIENCE = 60.0
"""Seconds after which a copy that a store makes is taken for failed."""

_LEASES: WeakValueDictionary[RemotePath, Lease] = WeakValueDictionary()
"""The directories that runs of this process own."""


@dataclass(frozen=True, slots=True)
class RemoteReading:
    """A copy of an object, on this machine."""

    file: BufferedReader
    place: RemoteBackend
    version: str

    def replaced(self) -> bool:
        """Whether it was a copy of something else than is there now."""
        return self.place.version() != self.version


class RemoteBackend:
    """A URL; `trainbus.storage.backend.Place` says what each method means."""

    is_local: ClassVar[bool] = False

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        with _told(path):
            self._key = str(_driver(path.protocol)._strip_protocol(str(path)))  # noqa: SLF001

    @property
    def _files(self) -> Any:
        """The store's file system: fsspec keeps one for each thread, and none that a fork has broken."""
        files: Any = fsspec.core.url_to_fs(str(self.path))[0]
        files.invalidate_cache()  # others write there, too
        return files

    def size(self) -> int | None:
        kind, size = self._info()
        return size if kind == "file" else None

    def is_directory(self) -> bool:
        return self._info()[0] == "directory"

    def list_names(self) -> list[str]:
        with _told(self.path):
            found = [str(name).rstrip("/") for name in self._files.ls(self._key, detail=False)]
        own = self._key.rstrip("/")  # some list the directory as one of its files
        return [name.rpartition("/")[2] for name in found if name != own]

    def glob(self) -> list[Location]:
        with _told(self.path):
            found = [str(name).rstrip("/").split("/") for name in self._files.glob(self._key)]
        # a library's own names may lack the host or the account, so that only what the pattern left open is theirs
        parts = self.path.key.split("/")
        known = next((number for number, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
        keys = [[*parts[:known], *names[len(names) - len(parts) + known :]] for names in found]
        return [RemotePath(self.path.protocol, "/".join(key)) for key in keys]

    def read(self) -> bytes:
        with _told(self.path):
            return bytes(self._files.cat_file(self._key))

    @contextmanager
    def open(self) -> Generator[RemoteReading]:
        version = self.version()
        copy = self._download()
        try:
            with copy.open("rb") as file:
                yield RemoteReading(file, self, version)
        finally:
            staging.keep(f"{self.path} {version}", copy)

    @contextmanager
    def as_local_file(self) -> Generator[Path]:
        copy = staging.kept(lambda: f"{self.path} {self.version()}") or self._download()
        try:
            yield copy
        finally:
            discard(copy)

    def _download(self) -> Path:
        copy = _new_file(self.path)
        try:
            with _told(self.path):
                self._files.get_file(self._key, str(copy))
        except BaseException:
            discard(copy)
            raise
        return copy

    def version(self) -> str:
        """What changes with the object."""
        with _told(self.path):
            return str(self._files.ukey(self._key))

    def stage(self, write: Callable[[Path], object]) -> Staged:
        if self.is_directory():
            raise IsADirectoryError(f"{str(self.path)!r} is a directory; name a file in it")
        staged = _new_file(self.path)
        try:
            return Staged(staged, filled(staged, write))
        except BaseException:
            discard(staged)
            raise

    def publish(self, staged: Path) -> None:
        try:
            self._put(lambda key: self._files.put_file(str(staged), key))
        finally:
            discard(staged)

    def replace(self, text: str) -> None:
        self._put(lambda key: self._files.pipe_file(key, text.encode()))

    def hard_link(self, name: str) -> None:
        double = type(self)(self.path.with_name(name))
        with _told(self.path):
            self._files.cp_file(self._key, double._key)  # noqa: SLF001
        size, end = self.size(), time.monotonic() + PATIENCE
        while double.size() != size:  # Azure may copy later; until it has, the copy is empty
            if time.monotonic() > end:
                raise TimeoutError(f"{str(self.path)!r} was not copied within {PATIENCE:.0f} s")
            time.sleep(PATIENCE / 100)

    def remove(self) -> None:
        with _told(self.path), suppress(FileNotFoundError):
            self._files.rm_file(self._key)

    def acquire_lock(self, name: str) -> Callable[[], object]:
        """By a lease: a store knows no locks."""
        lease = _LEASES[self.path] = take(type(self)(self.path / name), str(self.path))

        def release() -> None:
            _LEASES.pop(self.path, None)
            lease.release()

        return release

    def remove_debris(self) -> None:
        staging.sweep()
        try:
            self._sweep()
        except FileNotFoundError:  # nobody has written there yet
            return
        except OSError as error:  # listing what was uploaded in part is a right of its own
            LOG.warning("%s: what writers that died may have left is not removed: %s", self.path, error)

    def _sweep(self) -> None:
        if self.path.protocol not in WHOLE:
            for name in self.list_names():
                if name.startswith(STAGED):
                    type(self)(self.path / name).remove()
            return
        with _told(self.path):
            files = self._files
            if hasattr(files, "list_multipart_uploads"):  # S3 keeps, unseen, what was uploaded in part
                bucket, _, prefix = self._key.partition("/")
                for upload in files.list_multipart_uploads(bucket):
                    if upload["Key"].startswith(f"{prefix}/" if prefix else ""):
                        files.abort_mpu(bucket, upload["Key"], upload["UploadId"])

    def create(self, text: str) -> bool:
        """Make the object, unless it is there already; see `trainbus.storage.lease.Slate`."""
        try:
            with _told(self.path):
                self._make_directory()
                self._files.pipe_file(self._key, text.encode(), mode="create")
        except FileExistsError:
            return False
        except FileNotFoundError as error:  # by some told as the address of the request only
            raise _Told(f"{self._key.partition('/')[0]!r} does not exist") from error
        return True

    def beside(self, name: str) -> Self:
        """Another object in the same directory."""
        return type(self)(self.path.with_name(name))

    def _info(self) -> tuple[str, int]:
        """What is there, and its size."""
        with _told(self.path):
            try:
                found = self._files.info(self._key)
            except FileNotFoundError:
                return "", 0
        return str(found["type"]), int(found["size"] or 0)

    def _put(self, put: Callable[[str], object]) -> None:
        """Let `put` write to the name that it is given, and have it here in one step."""
        for lease in [reference() for reference in _LEASES.valuerefs()]:
            if lease is not None and lease.lost and str(self.path).startswith(f"{lease.directory}/"):
                raise OSError(f"{lease.directory!r} now belongs to another run ({lease.lost})")
        with _told(self.path):
            if self.path.protocol in WHOLE:
                put(self._key)
                return
            self._make_directory()
            staged = type(self)(self.path.with_name(f"{STAGED}{secrets.token_hex(8)}{suffix_of(self.path)}"))
            try:
                put(staged._key)  # noqa: SLF001
                self._rename(staged._key)  # noqa: SLF001
            except BaseException:
                with suppress(Exception):
                    staged.remove()
                raise

    def _rename(self, staged: str) -> None:
        files = self._files
        if type(files).mv is not fsspec.AbstractFileSystem.mv:
            files.mv(staged, self._key)
        else:  # which would take brackets in names for patterns
            files.cp_file(staged, self._key)
            files.rm_file(staged)

    def _make_directory(self) -> None:
        if self.path.protocol not in WHOLE:
            self._files.makedirs(self._files._parent(self._key), exist_ok=True)  # noqa: SLF001


@cache
def _driver(protocol: str) -> Any:
    """What reaches the stores of a protocol.

    Raises:
        MissingDependency: it is not installed.
        SettingsError: there is none.
    """
    url = f"{protocol}://"
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = str(known_implementations[protocol]["class"]).partition(".")[0]
        wanted = package if package != fsspec.__name__ else f"'fsspec[{protocol}]'"
        raise MissingDependency(f"{url} is not reached: {error}; pip install {wanted}") from error
    except ValueError:
        known = fsspec.available_protocols()
        near = hint(protocol, known)
        raise SettingsError(f"{url} is no kind of URL that fsspec knows{near} known: {', '.join(known)}") from None


@contextmanager
def _told(path: RemotePath) -> Generator[None]:
    """Let what a library raises be an `OSError` that says in one line where, what, and what can be done."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, IsADirectoryError, MissingDependency, SettingsError, _Told):
        raise
    except Exception as error:
        name = type(error).__name__
        what = " ".join(str(error).partition("\nRequestId:")[0].split()) or name  # the rest is for Azure's support
        fix = next((fix for sign, fix in FIXES.items() if sign in f"{name}: {what}"), "")
        raise _Told(f"{what}; {fix}" if fix else what) from error


class _Told(OSError):
    """What went wrong in a store."""


def _new_file(path: RemotePath) -> Path:
    """A file of its own on this machine, of the same suffix."""
    handle, name = tempfile.mkstemp(suffix=suffix_of(path), dir=staging.directory())
    os.close(handle)
    return Path(name)
