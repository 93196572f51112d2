"""Directories of ``torch.distributed.checkpoint`` (DCP): each rank writes its part of every tensor."""

# DCP's storage interface has few types
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
from .file_section import FileSection
from .pt_contents import check_contents


def write(state: Mapping[str, Any], path: Path, group: Any = None) -> list[Part]:
    """Write nested dictionaries of plain values and tensors, DTensors included, into a directory for ``dcp.load``.

    All ranks of a group call this at the same time.

    Args:
        state: This rank's state on the CPU; values that are not sharded come from the lowest rank.
        path: The directory; it is created if missing. Its old content stays until all ranks have written.
        group: A gloo process group that nothing else uses meanwhile; None for one process.

    Returns:
        On rank 0 the files that all ranks have written, else nothing.

    Raises:
        OSError: A rank cannot write; all ranks raise.
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
    return "; ".join(f"rank {rank}: {error or type(error).__name__}" for rank, (error, _) in sorted(failures.items()))


class _Files(FileSystem):
    """A file system that computes the digest of each file's intended content."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Generator[Any]:
        """Open a file to write from its start to its end."""
        assert mode == "wb", "a part is written once"
        with HashedFile(Path(path)) as file:
            yield file
        self.digests[Path(path).name] = file.digest


class _Writer(FileSystemWriter):
    """Writes the files into a subdirectory of a new name, and gathers their digests."""

    def __init__(self, path: Path, folder: str) -> None:
        super().__init__(path / folder)
        self.fs = self.files = _Files()
        self.root, self.folder = path, folder
        self.parts: list[Part] = []

    def write_data(self, plan: Any, planner: Any) -> Future[Any]:
        """Write this rank's data, and read it back."""
        results: list[Any] = super().write_data(plan, planner).wait()
        names = sorted({result.storage_data.relative_path for result in results})
        future: Future[Any] = Future()
        parts = [self._part(f"{self.folder}/{name}", self.files.digests[name]) for name in names]
        future.set_result([(parts, results)])
        return future

    def finish(self, metadata: Metadata, results: list[list[Any]]) -> None:
        """Write the index on rank 0 when all ranks have written; it commits the directory."""
        storage_data = metadata.storage_data = {}
        for parts, written in (each for of_rank in results for each in of_rank):
            self.parts += parts
            for result in written:
                result.storage_data.relative_path = f"{self.folder}/{result.storage_data.relative_path}"
                storage_data[result.index] = result.storage_data
        self.parts.append(self._part(INDEX, write_index(metadata, self.root / INDEX)))

    def _part(self, name: str, meant: str) -> Part:
        path = self.root / name
        return Part(name=name, size=path.stat().st_size, digest=verified(path, meant))


class Shards:
    """A directory that ``write`` or ``dcp.save`` wrote.

    Reading it runs no code: its index may hold only what DCP itself writes, and its values are read with
    ``weights_only=True``.

    Args:
        path: The directory.

    Raises:
        UnreadableCheckpoint: It is not such a directory, is damaged, or holds more than plain data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata = read_index(path / INDEX)

    def outline(self) -> dict[str, Any]:
        """Return the state with tensors on the device "meta", which have a shape but no values."""
        return self._read(lambda _, shape: torch.empty(shape.size, dtype=shape.properties.dtype, device="meta"))

    def read(self, like: Callable[[tuple[str, ...]], Tensor | None]) -> dict[str, Any]:
        """Return the state; the numbers of ranks of the save and of the load may differ.

        Args:
            like: Returns, for a path of keys, a tensor with the wanted sharding; None for a complete one on the CPU.
        """

        def allocate(path: tuple[str, ...], shape: TensorStorageMetadata) -> Tensor:
            model = like(path)
            if model is None or model.shape != shape.size:
                return torch.empty(shape.size, dtype=shape.properties.dtype)
            return torch.empty_like(model, dtype=shape.properties.dtype, requires_grad=False)

        return self._read(allocate)

    def _read(self, allocate: Callable[[tuple[str, ...], TensorStorageMetadata], Tensor]) -> dict[str, Any]:
        paths: Mapping[str, tuple[str | int, ...]] = self.metadata.planner_data or {}
        values: dict[str, Any] = {}
        for name, shape in self.metadata.state_dict_metadata.items():
            path = paths.get(name, (name,))
            values[name] = allocate(tuple(map(str, path)), shape) if isinstance(shape, TensorStorageMetadata) else None
        wanted = {name: value for name, value in values.items() if value is None or not value.is_meta}
        try:
            with reading(self.path), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is")
                # each rank finds what it needs without a collective
                reader = _Reader(self.path, self.metadata)
                state_dict_loader.load(wanted, storage_reader=reader, planner=_Planner(), no_dist=True)
        except CheckpointException as error:
            raise UnreadableCheckpoint(f"{str(self.path)!r} cannot be read: {_failures(error)}") from error
        nested: dict[str, Any] = {}
        with reading(self.path):
            for name, value in (values | wanted).items():
                _put(nested, paths.get(name, (name,)), value)
        return nested


class _Reader(FileSystemReader):
    """A reader with an index that was read safely."""

    def __init__(self, path: Path, metadata: Metadata) -> None:
        super().__init__(path)
        self.metadata = metadata

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Return the index."""
        return self.metadata

    def read_data(self, plan: Any, planner: Any) -> Future[None]:
        """Read what the plan lists; each part is a file of ``torch.save``, and is checked as one."""
        for item in plan.items:
            info = self.metadata.storage_data[item.storage_index]
            with io.BufferedReader(FileSection(self.path / info.relative_path, info.offset, info.length)) as file:
                check_contents(file, info.length)
        return super().read_data(plan, planner)


class _Planner(DefaultLoadPlanner):
    """A planner that reads plain values with ``weights_only=True``."""

    def __init__(self) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        """Load a plain value."""
        name = read_item.dest_index.fqn
        try:
            self.state_dict[name] = torch.load(value, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise ValueError(f"{name!r} holds objects that could run code") from error


def _put(nested: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Set a value at a path of keys; create the dictionaries and lists of the path."""
    container: Any = nested
    for key, following in pairwise((*path, None)):
        assert key is not None
        if isinstance(key, int):
            container.extend([None] * (key + 1 - len(container)))
        elif key not in container:
            container[key] = None
        if following is None:
            container[key] = value
        elif container[key] is None:
            container[key] = [] if isinstance(following, int) else {}
        container = container[key]
