"""Directories as `torch.distributed.checkpoint` makes them: each rank writes its part of every tensor."""

# what DCP leaves to its storages carries few types
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import io
import secrets
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.futures import Future

from trainbus import UnreadableCheckpoint
from trainbus.storage.atomic_file import HashedFile, reading, verified
from trainbus.storage.sharded_directory import SHARDS, Part

from .dcp_index import INDEX, read_index, write_index

__all__ = ["Shards", "write"]


def write(state: Mapping[str, Any], path: Path, group: Any = None) -> list[Part]:
    """Write nested dictionaries of plain values and tensors, sharded ones (DTensor) among them, into a directory.

    `dcp.load` reads it. With a group every rank of it calls this at the same time.

    Args:
        state: what each rank holds, on the CPU; what is not sharded is the lowest rank's.
        path: the directory, made where it is missing. What it held stays until all ranks have written.
        group: a process group on gloo that nobody else uses meanwhile; None for one process.

    Returns:
        On rank 0 what was written, by all ranks; else nothing.

    Raises:
        OSError: it cannot be written, on whatever rank: all ranks raise.
    """
    folder = [f"{SHARDS}{secrets.token_hex(8)}"]
    if group is not None:
        dist.broadcast_object_list(folder, group=group, group_src=0)
    writer = _Writer(path, folder[0])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is")  # one process needs no group
            state_dict_saver.save(
                dict(state),
                storage_writer=writer,
                planner=DefaultSavePlanner(dedup_save_to_lowest_rank=True),
                process_group=group,
                no_dist=group is None,
            )
    except CheckpointException as error:
        raise OSError(_failures(error)) from error
    return writer.parts


def _failures(error: CheckpointException) -> str:
    failures = cast("Mapping[int, tuple[BaseException, Any]]", error.failures)
    told = {rank: str(each[0]) or type(each[0]).__name__ for rank, each in sorted(failures.items())}
    return "; ".join(f"rank {rank}: {each}" for rank, each in told.items())


class _Files(FileSystem):
    """Knows the digest of what was meant for each file that was written."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Generator[Any]:
        """A file to be written, from its start to its end."""
        assert mode == "wb", "a part is written once"
        with HashedFile(Path(path)) as file:
            yield file
        self.digests[Path(path).name] = file.digest


class _Writer(FileSystemWriter):
    """Lays the parts into a subdirectory of a new name, and gathers their digests with them."""

    def __init__(self, path: Path, folder: str) -> None:
        super().__init__(path / folder)
        self.fs = self.files = _Files()
        self.root, self.folder = path, folder
        self.parts: list[Part] = []

    def write_data(self, plan: Any, planner: Any) -> Future[Any]:
        """Also: what was written is read back, by the rank that wrote it."""
        results: list[Any] = super().write_data(plan, planner).wait()
        names = sorted({result.storage_data.relative_path for result in results})
        told: Future[Any] = Future()
        told.set_result([([self._part(f"{self.folder}/{name}", self.files.digests[name]) for name in names], results)])
        return told

    def finish(self, metadata: Metadata, results: list[list[Any]]) -> None:
        """On rank 0, when all ranks have written: the index, which commits."""
        places = metadata.storage_data = {}
        for parts, written in (each for told in results for each in told):
            self.parts += parts
            for result in written:
                result.storage_data.relative_path = f"{self.folder}/{result.storage_data.relative_path}"
                places[result.index] = result.storage_data
        self.parts.append(self._part(INDEX, write_index(metadata, self.root / INDEX)))

    def _part(self, name: str, meant: str) -> Part:
        path = self.root / name
        return Part(name=name, size=path.stat().st_size, digest=verified(path, meant))


class Shards:
    """A directory that `write` or `dcp.save` made.

    Nothing that it holds runs code: its index may name only what DCP itself puts there, and its values are read with
    `weights_only=True`.

    Args:
        path: the directory.

    Raises:
        UnreadableCheckpoint: it is none, or damaged, or holds more than plain data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata = read_index(path / INDEX)

    def outline(self) -> dict[str, Any]:
        """The state as it was written, with tensors on the device "meta", which have a shape and no values."""
        return self._read(lambda _, shape: torch.empty(shape.size, dtype=shape.properties.dtype, device="meta"))

    def read(self, like: Callable[[tuple[str, ...]], Tensor | None]) -> dict[str, Any]:
        """The state as it was written, whatever the number of ranks then and now.

        Args:
            like: the tensor that is sharded as what lies at a path of keys shall be; None for a whole one on the CPU.
        """

        def place(path: tuple[str, ...], shape: TensorStorageMetadata) -> Tensor:
            model = like(path)
            if model is None or model.shape != shape.size:
                return torch.empty(shape.size, dtype=shape.properties.dtype)
            return torch.empty_like(model, dtype=shape.properties.dtype, requires_grad=False)

        return self._read(place)

    def _read(self, place: Callable[[tuple[str, ...], TensorStorageMetadata], Tensor]) -> dict[str, Any]:
        paths: Mapping[str, tuple[str | int, ...]] = self.metadata.planner_data or {}
        values: dict[str, Any] = {}
        for name, shape in self.metadata.state_dict_metadata.items():
            path = paths.get(name, (name,))
            values[name] = place(tuple(map(str, path)), shape) if isinstance(shape, TensorStorageMetadata) else None
        wanted = {name: value for name, value in values.items() if value is None or not value.is_meta}
        try:
            with reading(self.path), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is")
                # each rank finds by itself what it needs: nothing is exchanged
                reader = _Reader(self.path, self.metadata)
                state_dict_loader.load(wanted, storage_reader=reader, planner=_Planner(), no_dist=True)
        except CheckpointException as error:
            raise UnreadableCheckpoint(f"{str(self.path)!r} cannot be read: {_failures(error)}") from error
        nested: dict[str, Any] = {}
        for name, value in (values | wanted).items():
            _put(nested, paths.get(name, (name,)), value)
        return nested


class _Reader(FileSystemReader):
    """Goes by an index that was read with care."""

    def __init__(self, path: Path, metadata: Metadata) -> None:
        super().__init__(path)
        self.metadata = metadata

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """The index."""
        return self.metadata


class _Planner(DefaultLoadPlanner):
    """Reads plain values as tensors are read: as data."""

    def __init__(self) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        """Take a plain value."""
        name = read_item.dest_index.fqn
        try:
            self.state_dict[name] = torch.load(value, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise ValueError(f"{name!r} holds objects that could run code") from error


def _put(nested: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Lay a value where a path of keys leads, making the dictionaries and lists on the way."""
    place: Any = nested
    for key, after in pairwise((*path, None)):
        assert key is not None
        if isinstance(key, int):
            place.extend([None] * (key + 1 - len(place)))
        elif key not in place:
            place[key] = None
        if after is None:
            place[key] = value
        elif place[key] is None:
            place[key] = [] if isinstance(after, int) else {}
        place = place[key]
