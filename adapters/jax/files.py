"""Arrays by name in ``.npz`` and ``.safetensors`` files, which run no code when they are read."""

# safetensors declares few types
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, ZipFile

import jax.numpy as jnp
import numpy as np
from numpy.lib import format as npy

from trainbus import CheckpointError, MissingDependency
from trainbus.storage.archive import check_arrays
from trainbus.storage.atomic_file import HashedFile, reading

from .leaves import KEY

NPZ, SAFETENSORS = ".npz", ".safetensors"
HEADER = "trainbus"
"""The entry, or the key of the metadata, that has the rest of a ``Content`` as JSON."""


class Content(NamedTuple):
    """What a file holds."""

    arrays: Mapping[str, np.ndarray[Any, Any]]
    """Name to array; a random key is an array of its words."""
    kinds: Mapping[str, str]
    """Name to dtype, as ``kind_of`` returns it."""
    weights_only: bool
    """Whether these are weights alone, whose names have no prefix."""


def write(content: Content, path: Path) -> str:
    """Write a file; return the digest of its bytes.

    Raises:
        OSError: It cannot be written.
        CheckpointError: safetensors cannot hold a value.
    """
    header = json.dumps({"layout": 1, "weights_only": content.weights_only, "kinds": dict(content.kinds)})
    if path.suffix == SAFETENSORS:
        data = _serialized(content, header)
        with HashedFile(path) as file:
            file.write(data)
        return file.digest
    with HashedFile(path) as file, ZipFile(file, "w", ZIP_STORED) as archive:
        for name, array in {**content.arrays, HEADER: np.frombuffer(header.encode(), np.uint8)}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, _storable(array), allow_pickle=False)
    return file.digest


def read(path: Path) -> Content:
    """Return what is in a file that ``write`` wrote, or an archive of weights that ``np.savez`` wrote.

    Raises:
        UnreadableCheckpoint: It is not such a file, or is damaged.
    """
    with reading(path):
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        if not is_archive:
            return _deserialized(path)
        with path.open("rb") as file:
            check_arrays(file)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        header = arrays.pop(HEADER, None)
        return _content(arrays, None if header is None else header.tobytes().decode())


def _content(arrays: dict[str, Any], header: str | None) -> Content:
    if header is None:
        return Content(arrays, {name: str(array.dtype) for name, array in arrays.items()}, weights_only=True)
    found = json.loads(header)
    kinds = {str(name): str(kind) for name, kind in found["kinds"].items()}
    if kinds.keys() != arrays.keys():
        raise ValueError("its header does not fit its arrays")
    restored = {name: _restored(array, kinds[name]) for name, array in arrays.items()}
    return Content(restored, kinds, weights_only=bool(found["weights_only"]))


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of a type that NumPy's format knows: bfloat16 and similar types as the bits of integers."""
    if array.dtype.isbuiltin != 2:  # one that another package has registered
        return array
    return np.ascontiguousarray(array).reshape(array.shape).view(f"uint{8 * array.dtype.itemsize}")


def _restored(array: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    if kind.startswith(KEY):
        return array
    dtype = np.dtype(jnp.dtype(kind))
    if dtype == array.dtype:
        return array
    if dtype.itemsize != array.dtype.itemsize or array.dtype.kind != "u":
        raise ValueError(f"an array of the type {array.dtype} stands for one of {kind}")
    return array.view(dtype)


def _serialized(content: Content, header: str) -> bytes:
    library = _safetensors()
    tensors = {
        # it reads no other type that NumPy itself does not know
        name: np.ascontiguousarray(each if each.dtype == jnp.bfloat16 else _storable(each)).reshape(each.shape)
        for name, each in content.arrays.items()
    }
    try:
        return bytes(library.save(tensors, {HEADER: header}))
    except Exception as error:
        raise CheckpointError(f"safetensors cannot hold this state: {error}; save to {NPZ}") from error


def _deserialized(path: Path) -> Content:
    _safetensors()
    from safetensors import safe_open  # noqa: PLC0415 - the package is optional

    with safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return _content(arrays, (file.metadata() or {}).get(HEADER))


def _safetensors() -> Any:
    try:
        from safetensors import numpy  # noqa: PLC0415 - the package is optional
    except ImportError as error:
        raise MissingDependency(f"{error}; pip install safetensors, or save to {NPZ}") from error
    return numpy
