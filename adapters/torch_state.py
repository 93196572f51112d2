"""A training's state as plain data: what `torch.load(path, weights_only=True)` reads anywhere."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import UninitializedBuffer, UninitializedParameter

from trainbus import CheckpointError

__all__ = ["portable", "read", "take_in_place"]

SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes a number to a type of that size that NumPy has as well."""

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, torch.layout)


def portable(value: Any, where: str, *, copied: bool = False) -> Any:
    """The value with every tensor on the CPU, in types that load with weights_only=True on any machine.

    Args:
        value: nested dictionaries, lists and tuples of tensors and plain values; NumPy's numbers become Python's.
        where: what the value is, for errors.
        copied: whether the value is a copy to keep in memory: tensors that are on the CPU already are copied too, and
            objects of any type are allowed.

    Raises:
        CheckpointError: something in it has no such type, or no values yet; the message says where it stands.

    >>> portable({"lr": np.float64(0.1)}, "optimizer")
    {'lr': 0.1}
    >>> portable({"path": Path("data")}, "extra")
    Traceback (most recent call last):
        ...
    trainbus.errors.CheckpointError: extra['path'] is a PosixPath, which torch.load(weights_only=True) refuses; ...
    """
    return _portable(value, where, copied, {})


def _portable(value: Any, where: str, copied: bool, moved: dict[Any, Tensor]) -> Any:  # noqa: FBT001
    if isinstance(value, Tensor):
        return _portable_tensor(value, where, copied, moved)
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    if type(value) in PLAIN:
        return value
    if isinstance(value, dict):
        return _portable_dict(value, where, copied, moved)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, (list, tuple, set)):
        given = enumerate(cast("Iterable[Any]", value))
        items = [_portable(item, f"{where}[{index}]", copied, moved) for index, item in given]
        return items if isinstance(value, list) else tuple(items) if isinstance(value, tuple) else set(items)
    for plain in (int, float, str):  # a subclass, such as a member of an enumeration
        if isinstance(value, plain):
            return plain(value)
    if copied:
        return copy.deepcopy(value)
    raise CheckpointError(
        f"{where} is a {type(value).__name__}, which torch.load(weights_only=True) refuses; "
        "keep tensors, numbers, text, lists and dictionaries in the state"
    )


def _portable_dict(value: dict[Any, Any], where: str, copied: bool, moved: dict[Any, Tensor]) -> Any:  # noqa: FBT001
    made: dict[Any, Any] = type(value)() if type(value) in (OrderedDict, Counter) else {}
    for key, item in value.items():
        plain = _portable(key, f"a key of {where}", copied, moved)
        made[plain] = _portable(item, f"{where}[{key!r}]", copied, moved)
    if isinstance(made, OrderedDict):
        vars(made).update(vars(value))  # the versions of the modules, as `_metadata`
    return made


def _portable_tensor(tensor: Tensor, where: str, copied: bool, moved: dict[Any, Tensor]) -> Tensor:  # noqa: FBT001
    if tensor.is_meta or isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
        raise CheckpointError(f"{where} has no values yet; run one batch through the model, or move it to a device")
    if tensor.is_cpu and not copied:
        return tensor.detach()
    if tensor.layout is not torch.strided:
        return tensor.detach().to("cpu", copy=True)
    # tied weights stay tied, and are stored once
    storage = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
    place = (*storage, tensor.shape, tensor.stride(), tensor.dtype)
    if place not in moved:
        moved[place] = _copy(tensor.detach())
    return moved[place]


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU; of a CPU's tensor by NumPy, since torch's threads stall where cores are shared."""
    alike = SAME_SIZE.get(tensor.element_size())
    special = type(tensor) is not Tensor or tensor.is_quantized or tensor.is_conj() or tensor.is_neg()
    if not tensor.is_cpu or alike is None or special:
        return tensor.to("cpu", copy=True)
    return torch.as_tensor(tensor.view(alike).numpy().copy(order="K")).view(tensor.dtype)


def read(path: Path) -> dict[str, Any]:
    """The content of a file, its tensors on the CPU.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds more than plain data.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        reason = "torch.save did not write it, or it holds objects that could run code"
        raise CheckpointError(f"{str(path)!r} does not load with weights_only=True: {reason}") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(found).__name__}, no state of a model")
    return cast("dict[str, Any]", found)


def take_in_place(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Load the state, with group options that are tensors filled in place: a captured CUDA graph reads those."""
    before = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for old, new in zip(before, optimizer.param_groups, strict=True):
        for key, value in old.items():
            if isinstance(value, Tensor) and key in new:
                new[key] = value.copy_(torch.as_tensor(new[key]))
