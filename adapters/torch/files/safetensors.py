"""Weights in files of safetensors, which hold nothing but tensors and text."""

# safetensors declares few types
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

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

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[torch]'") from error

__all__ = ["read", "write"]

VERSIONS = "trainbus.versions"
"""Key of the text that holds the versions of the modules, by which they read what older ones wrote."""


def write(weights: Mapping[str, Any], path: Path) -> None:
    """Write a state_dict whose tensors are on the CPU.

    Tied tensors are written once, under the first of their names; the metadata has, as `safetensors.torch.save_model`
    writes it, each other name with that one.

    Raises:
        CheckpointError: it holds what is no dense tensor.
    """
    first: dict[Any, str] = {}
    tensors: dict[str, Tensor] = {}
    metadata = {"format": "pt", VERSIONS: json.dumps(getattr(weights, "_metadata", {}))}
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_quantized:
            what = "quantized or sparse" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise CheckpointError(f"{name!r} is {what}, which safetensors cannot hold; save to a .pt file")
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        same = first.setdefault(place, name) if tensor.numel() else name
        if same != name:
            metadata[name] = same
        else:
            # what lies in a larger tensor, or not in order, is written as a tensor of its own
            alone = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
            tensors[name] = tensor if alone else tensor.clone(memory_format=torch.contiguous_format)
    try:
        # safetensors stages too: in a directory whose name tells whose it is, so that a sweep takes what a kill leaves
        with tempfile.TemporaryDirectory(prefix=path.name, dir=path.parent) as folder:
            staged = Path(folder) / path.name
            save_file(tensors, staged, metadata)
            staged.replace(path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read(path: Path) -> dict[str, Any]:
    """The state_dict that a file holds, in the order of its names.

    Raises:
        CheckpointError: it is no such file.
    """
    try:
        with safe_open(path, "pt") as file:
            found: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            metadata = cast("dict[str, str]", file.metadata() or {})
        versions = json.loads(metadata.pop(VERSIONS, "{}"))
        tied = {name: found[same] for name, same in metadata.items() if same in found and name not in found}
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {error}") from error
    weights: OrderedDict[str, Any] = OrderedDict(found | tied)
    vars(weights)["_metadata"] = versions
    return weights
