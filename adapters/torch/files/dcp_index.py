"""The index of a sharded directory: which file holds which part of which tensor; reading it runs no code."""

# not all classes of DCP's index are public, but they are part of its format
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import io
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.storage.atomic_file import fill, reading, write_bytes
from trainbus.storage.local import LocalBackend

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
"""Module to the names in it that an index may hold: all that DCP writes; creating one of them has no side effects."""


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

    Raises:
        UnreadableCheckpoint: It is missing or damaged, or holds objects that DCP does not write.
        CheckpointError: It names files outside its directory.
    """
    with reading(path):
        found: Any = _Unpickler(io.BytesIO(path.read_bytes())).load()
        names = [each.relative_path for each in found.storage_data.values()] if isinstance(found, Metadata) else None
    if names is None:
        raise UnreadableCheckpoint(f"{str(path)!r} is not the index of a checkpoint")
    for name in names:
        if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise CheckpointError(f"{str(path)!r} names {name!r}, which is outside its directory")
    index: Metadata = found
    return index


class _Unpickler(pickle.Unpickler):
    """An unpickler that only creates the parts of an index."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if name not in ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is not part of an index and could run code")
        return super().find_class(module, name)
