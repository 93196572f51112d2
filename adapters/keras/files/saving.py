"""Write Keras models to files in any thread, from a recording of Keras's own saving.

Keras writes while it traverses the model, so the training would wait for the disk. Here Keras traverses the model with
a store that records copies; Keras's own store later writes the file from the copies.
"""

# Keras declares no types and has no public way to walk through the state of a model
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from errno import EAGAIN
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile, is_zipfile

import h5py  # type: ignore[import-untyped, unused-ignore]
import keras
import numpy as np

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.checkpoints.parallel_copy import Copy, same_bytes
from trainbus.limits import unpacked_limit
from trainbus.storage.archive import check_archive
from trainbus.storage.atomic_file import HashedFile, reading, write_bytes

from .hdf5_contents import read_all

try:
    from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5
    from keras.src.saving import saving_lib
    from keras.src.saving.saving_lib import DiskIOStore, H5IOStore, _save_state, _serialize_model_as_json

    H5IOStore._get_h5_file  # noqa: B018 - _WritingStore overrides it, which has no effect unless Keras has it
    WEIGHTS, ASSETS = saving_lib._VARS_FNAME_H5, saving_lib._ASSETS_DIRNAME
    CONFIG, METADATA = saving_lib._CONFIG_FILENAME, saving_lib._METADATA_FILENAME
except (ImportError, AttributeError) as error:
    raise ImportError(f"Keras {keras.__version__} saves in an unknown way: {error}") from error

OPTIMIZER = "optimizer"
"""Name of the group in a file that holds the optimizer's state."""
PIECE = 1 << 20
"""Bytes copied at once."""


class _Entry(dict[str, Any]):
    """The state of one layer, optimizer or other part of a model: name to array."""

    def __init__(self, path: str, metadata: Any, store: _RecordingStore) -> None:
        super().__init__()
        self.path, self.metadata = path, metadata
        self._store = store

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._store.copied(f"{self.path}/{key}", value))

    def __getitem__(self, key: str) -> Any:
        self._store.finish()
        return super().__getitem__(key)


class _RecordingStore(H5IOStore):  # type: ignore[misc, unused-ignore]
    """A store that records a model's state for a file that is written later."""

    def __init__(self, buffers: HostBuffers | None) -> None:
        self.mode = "w"  # Keras's other attributes belong to a file
        self.entries: list[_Entry] = []
        self._buffers = buffers
        self._left: list[Copy] = []

    def make(self, path: str, metadata: Any = None) -> _Entry:
        self.entries.append(_Entry(path, metadata, self))
        return self.entries[-1]

    def copied(self, place: str, value: Any) -> Any:
        """Return the value as an array, which ``finish`` fills if it is in the buffers."""
        array = _array(value)
        if self._buffers is None:
            return array
        buffer = self._buffers.take(place, array)
        self._left.append((buffer, array))
        if not isinstance(value, keras.Variable):  # its owner may change it after this call
            self.finish()
        return buffer

    def finish(self) -> None:
        """Make the pending copies."""
        left, self._left = self._left, []
        if self._buffers is not None:
            self._buffers.fill(left)

    def __bool__(self) -> bool:
        return True


class _WritingStore(H5IOStore):  # type: ignore[misc, unused-ignore]
    """Keras's store in a file that is already open."""

    def __init__(self, file: _ErrorKeepingFile, mode: str) -> None:
        self._file = file
        super().__init__("", mode=mode)

    def _get_h5_file(self, path_or_io: Any, mode: str | None = None) -> h5py.File:
        return h5py.File(self._file, self.mode)

    def holds(self, entry: _Entry) -> bool:
        """Return whether the store holds this entry, bit for bit."""
        stored = self.get(entry.path)
        return stored.keys() == entry.keys() and all(_same(stored[key], value) for key, value in entry.items())


class _ErrorKeepingFile(io.FileIO):
    """A file that stores its first error instead of raising it, and ignores later writes.

    HDF5 can only close a file without error messages on the terminal if no write has failed.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all bytes."""
        view = rest = memoryview(data).cast("B")
        try:
            while rest and self.error is None:
                written = super().write(rest)
                if not written:  # None if the system asks to try again, which may never end
                    raise BlockingIOError(EAGAIN, "the disk accepts no data at present")
                rest = rest[written:]
        except OSError as error:
            self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length."""
        try:
            return super().truncate(size) if self.error is None else size or 0
        except OSError as error:
            self.error = error
            return size or 0


def record_model(model: Any, buffers: HostBuffers | None, *, weights_only: bool) -> Callable[[Path], object]:
    """Return a function that writes the model's current state in any thread, as ``save_weights`` or ``save`` would.

    Args:
        model: A model that is built.
        buffers: The memory for the copy of its state; None for no copy, if the model does not change before the write.
        weights_only: Whether to write ``.weights.h5`` instead of ``.keras``.

    Raises:
        CheckpointError: The model has no weights yet.
    """
    if not model.built:
        raise CheckpointError(
            "the model is not built, so it has no weights yet; run one batch through it, or build() it"
        )
    recording = _RecordingStore(buffers)
    if weights_only:
        _save_state(model, weights_store=recording, assets_store=None, inner_path="", visited_saveables=set())
        recording.finish()
        return partial(_write_weights, recording.entries)
    config, metadata = _serialize_model_as_json(model)
    assets = io.BytesIO()
    with ZipFile(assets, "w") as archive:
        store = DiskIOStore(ASSETS, archive=archive, mode="w")
        try:
            _save_state(model, weights_store=recording, assets_store=store, inner_path="", visited_saveables=set())
        finally:
            store.close()
    recording.finish()
    return partial(_write_model, recording.entries, {METADATA: metadata, CONFIG: config}, assets)


def recorded_shapes(part: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of each value that Keras saves for a part of a model, by its name in the part's group."""
    recording = _RecordingStore(None)
    _save_state(part, weights_store=recording, assets_store=None, inner_path="", visited_saveables=set())
    entries = recording.entries
    return {f"{one.path}/vars/{key}".lstrip("/"): np.shape(one[key]) for one in entries for key in one}


def stored_shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """Return the shape of each value in an open file that Keras wrote, by its name."""
    shapes: dict[str, tuple[int, ...]] = {}
    file.visititems(lambda name, found: shapes.update({name: found.shape}) if isinstance(found, h5py.Dataset) else None)
    return shapes


@contextmanager
def opened_weights(path: Path) -> Iterator[h5py.File]:
    """Open the weights in a ``.keras`` or ``.weights.h5`` file."""
    with ExitStack() as opened:
        content: Any = path
        if is_zipfile(path):
            content = opened.enter_context(opened.enter_context(ZipFile(path)).open(WEIGHTS))
        yield opened.enter_context(h5py.File(content, "r"))


def write_legacy(model: Any, path: Path) -> str:
    """Write a model as a legacy ``.h5`` file; return the content's digest.

    The content is built in memory first, since HDF5 may report a failed write on the terminal only.

    Raises:
        OSError: It cannot be written.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        save_model_to_hdf5(model, file)
    return write_bytes(path, content.getbuffer())


def _array(value: Any) -> Any:
    """Return the value's memory if NumPy can use it, else a copy."""
    tensor = value.value if isinstance(value, keras.Variable) else value
    if getattr(tensor, "is_cpu", False) and hasattr(tensor, "detach"):  # Keras would copy PyTorch's tensors
        try:
            return tensor.detach().numpy()
        except TypeError:  # a type that NumPy lacks
            pass
    return keras.ops.convert_to_numpy(value)


def _same(found: Any, value: Any) -> bool:
    """Return whether two arrays are bit for bit the same, regardless of HDF5's names for their data types."""
    one, other = np.asarray(found), np.asarray(value)
    texts = one.dtype.hasobject or other.dtype.hasobject  # their bytes are pointers
    return one.shape == other.shape and (texts or same_bytes(one, other))


def check_readable(path: Path) -> None:
    """Read the complete content of a Keras file before loading it into a model.

    Raises:
        UnreadableCheckpoint: It cannot be read.
    """
    with reading(path, "is not a readable Keras file"):
        size = path.stat().st_size
        limit = unpacked_limit(size)
        if not is_zipfile(path):
            with h5py.File(path, "r") as file:
                read_all(file, size, limit)
            return
        with path.open("rb") as packed:
            check_archive(packed)
        with ZipFile(path) as archive:
            broken = archive.testzip()
            if broken is not None:
                raise UnreadableCheckpoint(f"{str(path)!r} is damaged: {broken!r} is not what was written")
            with archive.open(WEIGHTS) as entry, h5py.File(entry, "r") as file:
                read_all(file, archive.getinfo(WEIGHTS).file_size, limit)


def _write_weights(entries: list[_Entry], path: Path) -> None:
    with path.open("w+b", buffering=0) as file:
        _write_entries(entries, file)


def _write_model(entries: list[_Entry], texts: dict[str, str], assets: io.BytesIO, path: Path) -> str:
    # HDF5 seeks in its file, which an archive does not allow
    with (
        HashedFile(path) as output,
        ZipFile(output, "w") as archive,
        tempfile.TemporaryFile(dir=path.parent, prefix=path.name) as weights,
    ):
        for name, text in texts.items():
            archive.writestr(name, text)
        _write_entries(entries, weights)
        weights.seek(0)
        with archive.open(WEIGHTS, "w", force_zip64=True) as entry:
            while piece := weights.read(PIECE):
                entry.write(piece)
        with ZipFile(assets) as others:
            for name in others.namelist():
                archive.writestr(name, others.read(name))
    return output.digest


def _write_entries(entries: list[_Entry], file: BinaryIO) -> None:
    """Let Keras's store write the file, and read it back.

    Raises:
        OSError: It cannot be written, or its content differs from what was written to it.
    """
    with _ErrorKeepingFile(file.fileno(), "r+b", closefd=False) as target:
        store = _WritingStore(target, "w")
        for entry in entries:
            stored = store.make(entry.path, metadata=entry.metadata)
            for key, value in entry.items():
                stored[key] = value
        store.close()
        if target.error is not None:
            raise target.error
        # HDF5 rewrites parts of its file, so that a digest of the writes would not be the file's
        store = _WritingStore(target, "r")
        same = all(map(store.holds, entries))
        store.close()
    if not same:
        raise OSError("the file's content differs from what was written to it")
