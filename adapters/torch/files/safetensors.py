"""Weights in safetensors files, which hold only tensors and text."""

# safetensors declares few types
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from trainbus import CheckpointError, MissingDependency
from trainbus.checkpoints.parallel_copy import same_bytes
from trainbus.storage.atomic_file import reading

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[torch]'") from error

VERSIONS = "trainbus.versions"
"""Metadata key of the modules' versions, which modules need to read the state of their older versions."""


def write(weights: Mapping[str, Any], path: Path) -> None:
    """Write a state_dict whose tensors are on the CPU.

    Tied tensors are written once, under their first name; the metadata maps their other names to it, as
    ``safetensors.torch.save_model`` does.

    Raises:
        CheckpointError: A value is not a dense tensor.
        OSError: It cannot be written, or its content differs from what was written.
    """
    first: dict[Any, str] = {}
    tensors: dict[str, Tensor] = {}
    metadata = {"format": "pt", VERSIONS: json.dumps(getattr(weights, "_metadata", {}))}
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_quantized:
            what = "quantized or sparse" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise CheckpointError(f"{name!r} is {what}, which safetensors cannot hold; save to a .pt file")
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        same = first.setdefault(memory, name) if tensor.numel() else name
        if same != name:
            metadata[name] = same
        else:
            # a view of a larger tensor, or one that is not contiguous, is written as a separate tensor
            alone = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
            tensors[name] = tensor if alone else tensor.clone(memory_format=torch.contiguous_format)
    try:
        # safetensors writes a temporary file too: this directory's name lets the cleanup find it after a kill
        with tempfile.TemporaryDirectory(prefix=path.name, dir=path.parent) as folder:
            staged = Path(folder) / path.name
            save_file(tensors, staged, metadata)
            staged.replace(path)
        intact = _holds(path, tensors, metadata)
    except (SafetensorError, ValueError) as error:
        raise OSError(str(error)) from error
    if not intact:
        raise OSError("the file's content differs from what was written to it")


def _holds(path: Path, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> bool:
    """Return whether a file has exactly these tensors; the library that writes it computes no digest."""
    with safe_open(path, "pt") as file:
        return (
            sorted(file.keys()) == sorted(tensors)
            and file.metadata() == metadata
            and all(_same(file.get_tensor(name), tensor) for name, tensor in tensors.items())
        )


def _same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are bit for bit the same, NaN included."""
    alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return alike and same_bytes(*(each.reshape(-1).view(torch.uint8).numpy() for each in (one, other)))


def read(path: Path) -> dict[str, Any]:
    """Return the state_dict in a file, in the order of its names.

    Raises:
        UnreadableCheckpoint: It is not such a file, or it is damaged.
    """
    with reading(path):
        with safe_open(path, "pt") as file:
            found: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            metadata = cast("dict[str, str]", file.metadata() or {})
        versions = json.loads(metadata.pop(VERSIONS, "{}"))
        tied = {name: found[same] for name, same in metadata.items() if same in found and name not in found}
    weights: OrderedDict[str, Any] = OrderedDict(found | tied)
    vars(weights)["_metadata"] = versions
    return weights
