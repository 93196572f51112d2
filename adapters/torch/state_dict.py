"""A training's state as plain data: what `torch.load(path, weights_only=True)` reads anywhere."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import UninitializedBuffer, UninitializedParameter

from trainbus import CheckpointError
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.checkpoints.parallel_copy import Copy

from .sharding import is_sharded, sharded_like

__all__ = ["empty_on_cpu", "portable", "take_in_place"]

SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes a number to a type of that size that NumPy has as well."""

SCALARS = frozenset({bool, int, float, complex, str, bytes, type(None)})
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, torch.layout)


def portable(value: Any, where: str, *, copied: bool = False, buffers: HostBuffers | None = None) -> Any:
    """The value with every tensor on the CPU, in types that load with weights_only=True on any machine.

    Args:
        value: nested dictionaries, lists and tuples of tensors and plain values; NumPy's numbers become Python's.
        where: what the value is, for errors.
        copied: whether the value is a copy to keep in memory: tensors that are on the CPU already are copied too, and
            objects of any type are allowed.
        buffers: where given, what tensors are copied into, those that are on the CPU already too.

    Raises:
        CheckpointError: something in it has no such type, or no values yet; the message says where it stands.

    >>> portable({"lr": np.float64(0.1)}, "optimizer")
    {'lr': 0.1}
    >>> from pathlib import Path
    >>> portable({"path": Path("data")}, "extra")
    Traceback (most recent call last):
        ...
    trainbus.errors.CheckpointError: extra['path'] is a PosixPath, which torch.load(weights_only=True) refuses; ...
    """
    made = _Portable(copied=copied, buffers=buffers)
    found = made(value, where)
    made.buffers.fill(made.left)
    return found


class _Portable:
    """Makes values portable, tied tensors of all of them in one piece."""

    def __init__(self, *, copied: bool, buffers: HostBuffers | None) -> None:
        self.lenient = copied
        self.copies = copied or buffers is not None
        self.buffers = HostBuffers(empty_on_cpu) if buffers is None else buffers
        self.moved: dict[Any, Tensor] = {}
        self.left: list[Copy] = []
        """What is to be copied when the walk is over."""

    def __call__(self, value: Any, where: str) -> Any:
        if isinstance(value, Tensor):
            return self.tensor(value, where)
        if isinstance(value, np.generic):
            return cast("Any", value).item()
        if type(value) in PLAIN:
            return value
        if isinstance(value, dict):
            return self.dict(value, where)  # pyright: ignore[reportUnknownArgumentType]
        if type(value) in (list, tuple) and SCALARS.issuperset(map(type, cast("Iterable[Any]", value))):
            return type(value)(value)  # the hundreds of words of a random generator, say
        if isinstance(value, (list, tuple, set)):
            items = [self(item, f"{where}[{index}]") for index, item in enumerate(cast("Iterable[Any]", value))]
            return items if isinstance(value, list) else tuple(items) if isinstance(value, tuple) else set(items)
        for plain in (int, float, str):  # a subclass, such as a member of an enumeration
            if isinstance(value, plain):
                return plain(value)
        if self.lenient:
            return copy.deepcopy(value)
        raise CheckpointError(
            f"{where} is a {type(value).__name__}, which torch.load(weights_only=True) refuses; "
            "keep tensors, numbers, text, lists and dictionaries in the state"
        )

    def dict(self, value: dict[Any, Any], where: str) -> Any:
        made: dict[Any, Any] = type(value)() if type(value) in (OrderedDict, Counter) else {}
        for number, (key, item) in enumerate(value.items()):
            made[self(key, f"key {number} of {where}")] = self(item, f"{where}[{key!r}]")
        if isinstance(made, OrderedDict):
            vars(made).update(vars(value))  # the versions of the modules, as `_metadata`
        return made

    def tensor(self, tensor: Tensor, where: str) -> Tensor:
        if is_sharded(tensor):
            return sharded_like(self.tensor(tensor.to_local(), where), tensor)
        if tensor.is_meta or isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
            raise CheckpointError(f"{where} has no values yet; run one batch through the model, or move it to a device")
        if tensor.is_cpu and not self.copies:
            return tensor.detach()
        if tensor.layout is not torch.strided:
            return tensor.detach().to("cpu", copy=True)
        # tied weights stay tied, and are stored once
        storage = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
        place = (*storage, tensor.shape, tensor.stride(), tensor.dtype)
        if place not in self.moved:
            self.moved[place] = self._copied(where, tensor.detach())
        return self.moved[place]

    def _copied(self, where: str, tensor: Tensor) -> Tensor:
        buffer: Tensor = self.buffers.take(where, tensor)
        numbers = _numbers(tensor)
        if numbers is None:
            return buffer.copy_(tensor)
        self.left.append((cast("Any", _numbers(buffer)), numbers))
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
    """The memory of a CPU's tensor, for NumPy to copy: torch's threads stall where cores are shared; else None."""
    alike = SAME_SIZE.get(tensor.element_size())
    special = type(tensor) is not Tensor or tensor.is_quantized or tensor.is_conj() or tensor.is_neg()
    return None if not tensor.is_cpu or alike is None or special else tensor.view(alike).numpy()


def take_in_place(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Load the state, with group options that are tensors filled in place: a captured CUDA graph reads those."""
    before = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for old, new in zip(before, optimizer.param_groups, strict=True):
        for key, value in old.items():
            if isinstance(value, Tensor) and key in new:
                new[key] = value.copy_(torch.as_tensor(new[key]))
