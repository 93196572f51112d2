"""The index of a sharded directory: which file holds which part of which tensor; reading it runs no code."""

# not all classes of DCP's index are public, but they are part of its format
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.limits import DIMENSIONS, INDEX_BYTES, NESTING, unpacked_limit
from trainbus.storage.archive import check_unpacked
from trainbus.storage.atomic_file import fill, reading, write_bytes
from trainbus.storage.local import LocalBackend

from .pickle_data import Items, Made, Name, PickleReader

INDEX = ".metadata"
"""DCP's name of the index in its directory."""

METADATA = "torch.distributed.checkpoint.metadata"

ALLOWED = {
    METADATA: {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", "device"},
    "pathlib": {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"},
    "pathlib._local": {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"},
    "collections": {"OrderedDict"},
}
"""Module to the names in it that an index may hold: all that DCP writes."""

FORMATS = (torch.contiguous_format, torch.channels_last, torch.preserve_format)
"""The memory formats by the numbers that stand for them in an index."""
GAP = 64
"""Items without tensors that a list may have before the first one with tensors."""


def write_index(metadata: Metadata, path: Path) -> str:
    """Write an index atomically; return its digest."""
    metadata.version = "1.0.0"
    metadata.storage_meta = StorageMeta()  # without paths of this machine
    backend = LocalBackend(path)
    staged = backend.new_file()
    digest = fill(staged, lambda staged: write_bytes(staged, pickle.dumps(metadata)))
    backend.publish(staged)
    return digest


def read_index(path: Path) -> Metadata:
    """Read an index.

    It is read as data, from which this function makes an index: nothing that the file names is imported or called.

    Raises:
        UnreadableCheckpoint: It is missing or damaged, holds objects that DCP does not write, or declares tensors that
            are larger than the files it names.
        CheckpointError: It names files outside its directory.
    """
    with reading(path):
        size = path.stat().st_size
        if size > INDEX_BYTES:
            raise ValueError(f"it has {size:,} bytes; an index has at most {INDEX_BYTES:,}")
        with path.open("rb") as file:
            found = PickleReader(file, size, _refuse).read()
        if not (isinstance(found, Made) and found.maker == Name(METADATA, "Metadata")):
            raise UnreadableCheckpoint(f"{str(path)!r} is not the index of a checkpoint")
        index = _Decoder(size).index(found)
        for info in index.storage_data.values():
            name = info.relative_path
            if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise CheckpointError(f"{str(path)!r} names {name!r}, which is outside its directory")
        _check_sizes(index, path.parent)
        _check_paths(index)
    return index


def _refuse(name: Name) -> None:
    if name.module == "torch" and isinstance(getattr(torch, name.name, None), torch.dtype):
        return
    if name.name not in ALLOWED.get(name.module, ()):
        raise pickle.UnpicklingError(f"it holds {name}, which is not part of an index and could run code")


def _check_sizes(index: Metadata, directory: Path) -> None:
    """Raise an error if the tensors do not fit into the files, or if a part lies outside of its file."""
    sizes = {info.relative_path: 0 for info in index.storage_data.values()}
    for name in sizes:
        sizes[name] = (directory / name).stat().st_size
    for at, info in index.storage_data.items():
        if info.offset + info.length > sizes[info.relative_path]:
            raise ValueError(f"the part {at.fqn!r} is not inside of the file {info.relative_path!r}")
    tensors = [each for each in index.state_dict_metadata.values() if isinstance(each, TensorStorageMetadata)]
    needed = sum(prod(each.size) * each.properties.dtype.itemsize for each in tensors)
    check_unpacked(needed, unpacked_limit(sum(sizes.values())))


def _check_paths(index: Metadata) -> None:
    """Raise an error if a list would have more empty items than items, for example one item at place 10**12."""
    places: defaultdict[tuple[Any, ...], set[int]] = defaultdict(set)
    for path in (index.planner_data or {}).values():
        for depth, key in enumerate(path):
            if isinstance(key, int):
                places[path[:depth]].add(key)
    for path, numbers in places.items():
        if max(numbers) >= GAP + 2 * len(numbers):
            raise ValueError(
                f"the list {'.'.join(map(str, path))!r} has {len(numbers)} items with tensors, one at {max(numbers)}"
            )


class _Decoder:
    """Makes an index from the data of its pickle.

    Args:
        size: Length of the pickle in bytes, which limits the number of objects: a pickle can name one many times.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def index(self, found: Made) -> Metadata:
        """Return the index."""
        fields = self._fields(found, Metadata)
        paths = fields.get("planner_data")
        return Metadata(
            state_dict_metadata={
                _text(name): self._stored(each) for name, each in self._items(fields["state_dict_metadata"])
            },
            planner_data=None
            if paths is None
            else {_text(name): self._path(path) for name, path in self._items(paths)},
            storage_data={self._place(at): self._info(info) for at, info in self._items(fields["storage_data"])},
            storage_meta=StorageMeta(),  # names the directory in which it was written
            version=fields.get("version"),
        )

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise ValueError("it holds one object too many times")

    def _items(self, found: Any) -> Items:
        items = found.items if isinstance(found, Made) and found.maker.name == "OrderedDict" else found
        if not isinstance(items, Items):
            raise TypeError("it lacks a dictionary")
        self._count(len(items))
        return items

    def _fields(self, found: Any, kind: type) -> Mapping[str, Any]:
        """Return the attributes of an instance."""
        if not isinstance(found, Made) or found.maker.name != kind.__name__ or found.arguments or found.items:
            raise TypeError(f"it lacks an object of {kind.__name__}")
        self._count(1)
        return {_text(name): value for name, value in ([] if found.state is None else self._items(found.state))}

    def _stored(self, found: Any) -> TensorStorageMetadata | BytesStorageMetadata:
        if isinstance(found, Made) and found.maker.name == BytesStorageMetadata.__name__:
            return BytesStorageMetadata()
        fields = self._fields(found, TensorStorageMetadata)
        chunks: list[Any] = _checked(fields["chunks"], list)
        self._count(len(chunks))
        size = self._size(fields["size"])
        return TensorStorageMetadata(
            self._properties(fields["properties"]), size, [self._chunk(each, size) for each in chunks]
        )

    def _chunk(self, found: Any, whole: torch.Size) -> ChunkStorageMetadata:
        fields = self._fields(found, ChunkStorageMetadata)
        offsets, sizes = self._size(fields["offsets"]), self._size(fields["sizes"])
        ends = [offset + size for offset, size in zip(offsets, sizes, strict=True)]
        if any(end > size for end, size in zip(ends, whole, strict=True)):
            raise ValueError("a part of a tensor is not inside of the tensor")
        return ChunkStorageMetadata(offsets, sizes)

    def _properties(self, found: Any) -> TensorProperties:
        if not isinstance(found, Made) or found.maker.name != TensorProperties.__name__:
            raise TypeError("it lacks the properties of a tensor")
        dtype, layout, requires_grad, memory_format, pinned = _checked(found.state, tuple)
        kind, named = (
            getattr(torch, each.rpartition(".")[2], None) for each in (_checked(dtype, Name).name, _argument(layout))
        )
        return TensorProperties(
            dtype=_checked(kind, torch.dtype),
            layout=_checked(named, torch.layout),
            requires_grad=_checked(requires_grad, bool),
            memory_format=FORMATS[_argument(memory_format)],
            pin_memory=_checked(pinned, bool),
        )

    def _size(self, found: Any) -> torch.Size:
        if not isinstance(found, Made) or found.maker != Name("torch", "Size"):
            raise TypeError("it lacks a size")
        numbers: tuple[Any, ...] = _checked(_argument(found), tuple)
        self._count(1)
        if len(numbers) > DIMENSIONS:
            raise ValueError(f"a tensor has {len(numbers)} dimensions")
        return torch.Size(map(_whole, numbers))

    def _place(self, found: Any) -> MetadataIndex:
        fields = self._fields(found, MetadataIndex)
        offset, number = fields.get("offset"), fields.get("index")
        return MetadataIndex(
            _text(fields["fqn"]),
            None if offset is None else self._size(offset),
            None if number is None else _whole(number),
        )

    def _info(self, found: Any) -> _StorageInfo:
        fields = self._fields(found, _StorageInfo)
        if fields.get("transform_descriptors"):
            raise ValueError("an extension of DCP has compressed it; save it without the extension")
        return _StorageInfo(fields["relative_path"], _whole(fields["offset"]), _whole(fields["length"]))

    def _path(self, found: Any) -> tuple[str | int, ...]:
        path: tuple[Any, ...] = _checked(found, tuple)
        self._count(len(path))
        if not 0 < len(path) <= NESTING:
            raise ValueError(f"a name is a path of {len(path)} keys")
        return tuple(each if isinstance(each, str) else _whole(each) for each in path)


def _argument(found: Any) -> Any:
    """Return the only argument of a call."""
    (argument,) = _checked(found, Made).arguments
    return argument


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"it holds a {type(value).__name__} in place of a {kind.__name__}")
    return value


def _text(value: Any) -> str:
    return str(_checked(value, str))


def _whole(value: Any) -> int:
    """Return a number that is not negative and fits into 63 bits."""
    number = int(_checked(value, int))
    if isinstance(value, bool) or not 0 <= number < 1 << 63:
        raise ValueError("it holds a number that is not a size")
    return number
