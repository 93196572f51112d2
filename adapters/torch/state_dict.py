"""A training's state as plain data on the CPU, which ``torch.load(path, weights_only=True)`` reads on any machine."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from trainbus import CheckpointError
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.checkpoints.parallel_copy import Copy

from .sharding import is_sharded, sharded_like
from .weights import UNINITIALIZED

SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes per number to a type of this size that NumPy also has."""

SMALL = 1 << 14
"""Numbers below which torch copies a tensor with one thread, faster than NumPy can be asked to."""

SCALARS = frozenset({bool, int, float, complex, str, bytes, type(None)})
ORDINARY = frozenset({Tensor, torch.nn.Parameter})
"""Types of tensors that are neither sharded nor without values."""
PLAIN = SCALARS | {torch.dtype, torch.device, torch.Size, torch.layout}


def to_cpu_state(value: Any, where: str, *, copied: bool = False, buffers: HostBuffers | None = None) -> Any:
    """Return the value with every tensor on the CPU, in types that load with weights_only=True.

    Args:
        value: Nested dictionaries, lists and tuples of tensors and plain values; NumPy's numbers become Python's.
        where: The value's name in error messages.
        copied: Whether the result is a copy to keep in memory: CPU tensors are copied too, and objects of any type are
            allowed.
        buffers: Buffers to copy all tensors into, those on the CPU too; None to copy only what ``copied`` asks for.

    Raises:
        CheckpointError: Something in the value has another type, or no values yet; the message names the place.

    >>> to_cpu_state({"lr": np.float64(0.1)}, "optimizer")
    {'lr': 0.1}
    >>> from pathlib import Path
    >>> to_cpu_state({"path": Path("data")}, "extra")
    Traceback (most recent call last):
        ...
    trainbus.errors.CheckpointError: extra['path'] is a PosixPath, which torch.load(weights_only=True) refuses; ...
    """
    converter = _Converter(copied=copied, buffers=buffers)
    converted = converter.convert(value, where)
    converter.buffers.fill(converter.pending)
    return converted


class _Converter:
    """Converts one value; tied tensors stay tied."""

    def __init__(self, *, copied: bool, buffers: HostBuffers | None) -> None:
        self.lenient = copied
        self.copies = copied or buffers is not None
        self.buffers = HostBuffers(empty_on_cpu) if buffers is None else buffers
        self.moved: dict[Any, Tensor] = {}
        self.pending: list[Copy] = []
        """Copies to make at the end of the traversal."""

    def convert(self, value: Any, where: str) -> Any:
        if isinstance(value, Tensor):
            return self._convert_tensor(value, where)
        if isinstance(value, np.generic):
            return cast("Any", value).item()
        if type(value) in PLAIN:
            return value
        if isinstance(value, dict):
            return self._convert_dict(value, where)  # pyright: ignore[reportUnknownArgumentType]
        if type(value) in (list, tuple) and SCALARS.issuperset(map(type, cast("Iterable[Any]", value))):
            return type(value)(value)  # fast for the hundreds of words of a random generator's state
        if isinstance(value, (list, tuple, set)):
            items = [self.convert(item, f"{where}[{i}]") for i, item in enumerate(cast("Iterable[Any]", value))]
            return items if isinstance(value, list) else tuple(items) if isinstance(value, tuple) else set(items)
        for plain in (int, float, str):  # subclasses, such as members of an enumeration
            if isinstance(value, plain):
                return plain(value)
        if self.lenient:
            return copy.deepcopy(value)
        raise CheckpointError(
            f"{where} is a {type(value).__name__}, which torch.load(weights_only=True) refuses; "
            "keep tensors, numbers, text, lists and dictionaries in the state"
        )

    def _convert_dict(self, value: dict[Any, Any], where: str) -> Any:
        converted: dict[Any, Any] = type(value)() if type(value) in (OrderedDict, Counter) else {}
        for number, (key, item) in enumerate(value.items()):
            # most keys and many items are plain, and small models have hundreds of them
            plain_key = key if type(key) in PLAIN else self.convert(key, f"key {number} of {where}")
            converted[plain_key] = item if type(item) in PLAIN else self.convert(item, f"{where}[{key!r}]")
        if isinstance(converted, OrderedDict):
            vars(converted).update(vars(value))  # the versions of the modules: _metadata
        return converted

    def _convert_tensor(self, tensor: Tensor, where: str) -> Tensor:
        ordinary = type(tensor) in ORDINARY
        if not ordinary and is_sharded(tensor):
            return sharded_like(self._convert_tensor(tensor.to_local(), where), tensor)
        if tensor.is_meta or (not ordinary and isinstance(tensor, UNINITIALIZED)):
            raise CheckpointError(f"{where} has no values yet; run one batch through the model, or move it to a device")
        if tensor.is_cpu and not self.copies:
            return tensor.detach()
        if tensor.layout is not torch.strided:
            return tensor.detach().to("cpu", copy=True)
        storage = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
        memory = (*storage, tensor.shape, tensor.stride(), tensor.dtype)
        if memory not in self.moved:
            self.moved[memory] = self._copied(where, tensor.detach())
        return self.moved[memory]

    def _copied(self, where: str, tensor: Tensor) -> Tensor:
        buffer: Tensor = self.buffers.take(where, tensor)
        numbers = None if tensor.numel() < SMALL else _numbers(tensor)
        if numbers is None:
            return buffer.copy_(tensor)
        self.pending.append((cast("Any", _numbers(buffer)), numbers))
        return buffer


def empty_on_cpu(tensor: Tensor) -> Tensor:
    """Return memory on the CPU for a copy of a tensor; NumPy asks the system for large pages."""
    numbers = _numbers(tensor)
    if numbers is not None:
        return torch.as_tensor(np.empty_like(numbers)).view(tensor.dtype)
    if type(tensor) is Tensor and not tensor.is_quantized:
        return torch.empty_like(tensor, device="cpu")
    return tensor.to("cpu", copy=True)  # an own type of tensor decides what its copy is


def _numbers(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """Return a view of a CPU tensor for NumPy to copy (torch's threads stall on shared cores); None if it has none."""
    alike = SAME_SIZE.get(tensor.element_size())
    special = type(tensor) is not Tensor or tensor.is_quantized or tensor.is_conj() or tensor.is_neg()
    return None if not tensor.is_cpu or alike is None or special else tensor.view(alike).numpy()
