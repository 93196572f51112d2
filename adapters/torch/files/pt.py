"""Files as `torch.save` makes them, written with long stretches in which other threads go on."""

# what pickles tensors hands over storages of a deprecated class, whose public methods warn
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo, is_zipfile

import numpy as np
import torch

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.storage.atomic_file import HashedFile, reading

__all__ = ["read", "write"]

ROOT = "archive"
VERSION = b"3\n"
"""Of the container, as torch 1.6 and all later ones write and read it."""
ALIGNED = 64
"""Bytes to which the beginning of each tensor is aligned, so that `torch.load(mmap=True)` can use it where it lies."""
HEADER, LARGE_FIELD = 30, 20
"""Bytes of an entry's header without its name, and of the field that a large one needs for its length."""
LARGE = 1 << 31
"""Bytes from which on an entry is large, at the latest."""
PIECE = 1 << 20
"""Bytes written at once; larger pieces sometimes wait long for free pages."""


def write(state: Any, path: Path) -> str:
    """Write what `torch.load(path, weights_only=True)` reads, as `torch.save` would.

    `torch.save` keeps all other threads waiting while it writes a tensor; here they wait for the pickle only, which
    holds no numbers.

    Args:
        state: nested dictionaries, lists and tuples of plain values and tensors on the CPU.
        path: the file.

    Returns:
        The digest of what it is to hold.

    Raises:
        OSError: it cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.pt"
    >>> _ = write({"weight": torch.arange(3.0)}, path)
    >>> torch.load(path, weights_only=True)
    {'weight': tensor([0., 1., 2.])}
    """
    body = io.BytesIO()
    pickler = _Pickler(body, protocol=2)
    pickler.dump(state)
    with HashedFile(path) as whole, ZipFile(whole, "w", ZIP_STORED) as file:
        _add(file, "data.pkl", body.getbuffer())
        _add(file, "byteorder", memoryview(sys.byteorder.encode()))
        for key, storage in enumerate(pickler.storages):
            _add(file, f"data/{key}", _bytes_of(storage))
        _add(file, "version", memoryview(VERSION))
    return whole.digest


def read(path: Path) -> dict[str, Any]:
    """The content of a file, its tensors on the CPU.

    Raises:
        UnreadableCheckpoint: there is no such file, it is damaged, or it holds more than plain data.
        CheckpointError: it holds something else than a state.
    """
    with reading(path):
        _check_sums(path)
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            reason = "torch.save did not write it, or it holds objects that could run code"
            raise UnreadableCheckpoint(f"{str(path)!r} does not load with weights_only=True: {reason}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(found).__name__}, no state of a model")
    return cast("dict[str, Any]", found)


def _check_sums(path: Path) -> None:
    """Compare the checksums in an archive, which `torch.load` passes over; older formats have none."""
    summed: bool = getattr(torch.serialization, "get_crc32_options", lambda: True)()
    if not summed or not is_zipfile(path):
        return
    with ZipFile(path) as file:
        broken = file.testzip()
    if broken is not None:
        raise UnreadableCheckpoint(f"{str(path)!r} is damaged: {broken!r} does not hold what was meant")


class _Pickler(pickle.Pickler):
    """Names storages instead of writing them; the names are those that `torch.load` looks for."""

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.storages: list[torch.UntypedStorage] = []
        self._keys: dict[Any, str] = {}

    def persistent_id(self, obj: Any) -> tuple[str, Any, str, str, int] | None:
        if isinstance(obj, torch.storage.TypedStorage):
            storage, length = obj._untyped_storage, int(obj._size())  # type: ignore[no-untyped-call]
            kind: Any = getattr(torch, obj._pickle_storage_type())  # type: ignore[no-untyped-call]
        elif isinstance(obj, torch.UntypedStorage):  # of types of number that are younger than the format
            storage, length, kind = obj, obj.nbytes(), torch.UntypedStorage
        else:
            return None
        # an empty storage has no address of its own
        place = (storage.data_ptr(), kind) if storage.data_ptr() else len(self.storages)
        if place not in self._keys:
            self._keys[place] = str(len(self.storages))
            self.storages.append(storage)
        return "storage", kind, self._keys[place], "cpu", length


def _bytes_of(storage: torch.UntypedStorage) -> memoryview:
    if not storage.nbytes():
        return memoryview(b"")
    array: np.ndarray[Any, Any] = torch.tensor([], dtype=torch.uint8).set_(storage).numpy()
    return array.data


def _add(file: ZipFile, name: str, content: memoryview) -> None:
    info = ZipInfo(f"{ROOT}/{name}")
    large = len(content) > LARGE
    assert file.fp is not None
    begin = file.fp.tell() + HEADER + len(info.filename) + large * LARGE_FIELD + 4
    padding = -begin % ALIGNED
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    with file.open(info, "w", force_zip64=large) as entry:
        for start in range(0, len(content), PIECE):
            entry.write(content[start : start + PIECE])
