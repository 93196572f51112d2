"""Keras models in files, laid down in any thread from what Keras's own saving has walked through.

Keras writes while it walks through the model, so the training would wait for the disk. Here it walks into a store that
takes copies; Keras's own store makes the file of them later.
"""

# Keras declares no types, and tells nobody else how it walks through a model
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from errno import EAGAIN
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zipfile import ZipFile, is_zipfile

import h5py  # type: ignore[import-untyped, unused-ignore]
import keras
import numpy as np

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.checkpoints.parallel_copy import Copy, ParallelCopier, same_bytes
from trainbus.storage.atomic_file import HashedFile, reading, write_bytes

try:
    from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5
    from keras.src.saving import saving_lib
    from keras.src.saving.saving_lib import DiskIOStore, H5IOStore, _save_state, _serialize_model_as_json

    OPENS = H5IOStore._get_h5_file  # where it does not, the one below would have no effect
    WEIGHTS, ASSETS = saving_lib._VARS_FNAME_H5, saving_lib._ASSETS_DIRNAME
    CONFIG, METADATA = saving_lib._CONFIG_FILENAME, saving_lib._METADATA_FILENAME
except (ImportError, AttributeError, AssertionError) as error:
    raise ImportError(f"Keras {keras.__version__} saves in a way that is not known here: {error}") from error

__all__ = ["Buffers", "check_readable", "recorded", "write_legacy"]

PIECE = 1 << 20
"""Bytes written at once; other threads run meanwhile."""


class Buffers:
    """Arrays that one copy after the other fills, so that only the first has to find memory."""

    def __init__(self) -> None:
        self.copier = ParallelCopier()
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}

    def like(self, where: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """An array for a copy of this one: the last one of this place where it is alike."""
        buffer = self._arrays.get(where)
        if buffer is None or (buffer.shape, buffer.dtype) != (array.shape, array.dtype):
            buffer = self._arrays[where] = np.empty_like(array, order="C", subok=False)
        return buffer


class _Entry(NamedTuple):
    """What one layer, optimizer or other part of a model stores."""

    path: str
    metadata: Any
    values: dict[str, Any]


class _Taken(H5IOStore):  # type: ignore[misc, unused-ignore]
    """Takes what a model stores, for a file that is made later."""

    def __init__(self, buffers: Buffers | None) -> None:
        self.mode = "w"  # all else that Keras keeps here belongs to a file
        self.entries: list[_Entry] = []
        self._buffers = buffers
        self._left: list[Copy] = []

    def finish(self) -> None:
        """Copy what has not been copied yet."""
        left, self._left = self._left, []
        if self._buffers is not None:
            self._buffers.copier.copy(left)

    @property
    def _values(self) -> dict[str, Any]:
        return self.entries[-1].values

    def make(self, path: str, metadata: Any = None) -> _Taken:
        self.entries.append(_Entry(path, metadata, {}))
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        array, place = _array(value), f"{self.entries[-1].path}/{key}"
        if self._buffers is not None:
            source, array = array, self._buffers.like(place, array)
            self._left.append((array, source))
            if not isinstance(value, keras.Variable):  # whoever has made it may go on to change it
                self.finish()
        self._values[key] = array

    def __getitem__(self, key: str) -> Any:
        self.finish()
        return self._values[key]

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __bool__(self) -> bool:
        return True

    def keys(self) -> Any:
        return self._values.keys()


class _Laid(H5IOStore):  # type: ignore[misc, unused-ignore]
    """Keras's store, in a file that is open."""

    def __init__(self, file: _Steady, mode: str) -> None:
        self._file = file
        super().__init__("", mode=mode)

    def _get_h5_file(self, path_or_io: Any, mode: str | None = None) -> h5py.File:
        return h5py.File(self._file, self.mode)

    def holds(self, entry: _Entry) -> bool:
        """Whether what was read back is this entry, to the bit."""
        there = self.get(entry.path)
        if there.keys() != entry.values.keys():
            return False
        return all(_same(there[key], value) for key, value in entry.values.items())


class _Steady(io.FileIO):
    """A file that keeps its first error to itself, and takes all that comes then without writing it.

    HDF5 closes a file in order, and says nothing by itself, only where no write has failed.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, in pieces."""
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view) if self.error is None else 0, PIECE):
                piece = view[start : start + PIECE]
                while piece:
                    written = super().write(piece)
                    if not written:  # None where the system asks to try again, which could be for ever
                        raise BlockingIOError(EAGAIN, "the disk takes nothing at present")
                    piece = piece[written:]
        except OSError as error:
            self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file so long."""
        try:
            return super().truncate(size) if self.error is None else size or 0
        except OSError as error:
            self.error = error
            return size or 0


def recorded(model: Any, buffers: Buffers | None, *, weights_only: bool) -> Callable[[Path], object]:
    """What writes the model as it is now to a path, as Keras's `save_weights` or `save` would, in whatever thread.

    Args:
        model: a model that is built.
        buffers: what its state is copied into; None for no copy, where the model stays as it is until then.
        weights_only: whether to write `.weights.h5`, and not `.keras`.

    Raises:
        CheckpointError: the model has no weights yet.
    """
    if not model.built:
        raise CheckpointError(
            "the model is not built, so it has no weights yet; run one batch through it, or build() it"
        )
    taken = _Taken(buffers)
    if weights_only:
        _save_state(model, weights_store=taken, assets_store=None, inner_path="", visited_saveables=set())
        taken.finish()
        return partial(_write_weights, taken.entries)
    config, metadata = _serialize_model_as_json(model)
    assets = io.BytesIO()
    with ZipFile(assets, "w") as archive:
        store = DiskIOStore(ASSETS, archive=archive, mode="w")
        try:
            _save_state(model, weights_store=taken, assets_store=store, inner_path="", visited_saveables=set())
        finally:
            store.close()
    taken.finish()
    return partial(_write_model, taken.entries, {METADATA: metadata, CONFIG: config}, assets)


def write_legacy(model: Any, path: Path) -> str:
    """Write a model as a legacy `.h5`; the digest of what the file is to hold.

    The file is made in memory: of writes that the disk refuses HDF5 may tell nobody but the terminal.

    Raises:
        OSError: it cannot be written.
    """
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        save_model_to_hdf5(model, file)
    return write_bytes(path, made.getbuffer())


def _array(value: Any) -> Any:
    """The value's memory where NumPy can use it, else a copy."""
    tensor = value.value if isinstance(value, keras.Variable) else value
    if getattr(tensor, "is_cpu", False) and hasattr(tensor, "detach"):  # Keras would copy a tensor of PyTorch's
        try:
            return tensor.detach().numpy()
        except TypeError:  # a type that NumPy lacks
            pass
    return keras.ops.convert_to_numpy(value)


def _same(found: Any, value: Any) -> bool:
    """Whether two arrays are the same to the bit, whatever name HDF5 has for the type of their numbers."""
    one, other = np.asarray(found), np.asarray(value)
    texts = one.dtype.hasobject or other.dtype.hasobject  # which have no bytes of their own
    return one.shape == other.shape and (texts or same_bytes(one, other))


def check_readable(path: Path) -> None:
    """Read all that a file of Keras's holds, before any of it is taken over.

    Raises:
        UnreadableCheckpoint: that is not possible.
    """
    with reading(path, "is no file of Keras's that can be read"):
        if not is_zipfile(path):
            with h5py.File(path, "r") as file:
                file.visititems(_read)
            return
        with ZipFile(path) as archive:
            broken = archive.testzip()
            if broken is not None:
                raise UnreadableCheckpoint(f"{str(path)!r} is damaged: {broken!r} is not what was written")
            with archive.open(WEIGHTS) as entry, h5py.File(entry, "r") as file:
                file.visititems(_read)


def _read(_: str, found: Any) -> None:
    dict(found.attrs)
    if isinstance(found, h5py.Dataset):
        found[()]


def _write_weights(entries: list[_Entry], path: Path) -> None:
    with path.open("w+b", buffering=0) as file:
        _lay_down(entries, file)


def _write_model(entries: list[_Entry], texts: dict[str, str], assets: io.BytesIO, path: Path) -> str:
    # HDF5 goes back and forth in its file, which an archive does not allow
    with (
        HashedFile(path) as whole,
        ZipFile(whole, "w") as archive,
        tempfile.TemporaryFile(dir=path.parent, prefix=path.name) as weights,
    ):
        for name, text in texts.items():
            archive.writestr(name, text)
        _lay_down(entries, weights)
        weights.seek(0)
        with archive.open(WEIGHTS, "w", force_zip64=True) as entry:
            while piece := weights.read(PIECE):
                entry.write(piece)
        with ZipFile(assets) as others:
            for name in others.namelist():
                archive.writestr(name, others.read(name))
    return whole.digest


def _lay_down(entries: list[_Entry], file: BinaryIO) -> None:
    """Let Keras's store make the file, and read it back.

    Raises:
        OSError: it cannot be written, or does not hold what was written to it.
    """
    with _Steady(file.fileno(), "r+b", closefd=False) as steady:
        store = _Laid(steady, "w")
        for path, metadata, values in entries:
            entry = store.make(path, metadata=metadata)
            for key, value in values.items():
                entry[key] = value
        store.close()
        if steady.error is not None:
            raise steady.error
        # HDF5 writes parts of its file more than once, so that no digest on the way is that of the file
        store = _Laid(steady, "r")
        same = all(map(store.holds, entries))
        store.close()
    if not same:
        raise OSError("the disk does not hold what was written to it")
