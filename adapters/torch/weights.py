"""A module's weights by the names that they would have if nothing were wrapped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import UninitializedBuffer, UninitializedParameter

from trainbus.metrics.names import nearest, unique

__all__ = [
    "arrays",
    "as_array",
    "differences",
    "has_numbers",
    "misfit",
    "modules_of",
    "named",
    "plain_names",
    "take_weights",
    "unwrapped",
    "weights_of",
]

UNINITIALIZED = (UninitializedParameter, UninitializedBuffer)
"""What lazy modules hold until they see their first batch."""


def weights_of(model: nn.Module) -> OrderedDict[str, Any]:
    """The model's state_dict under plain names; its tensors are the model's own."""
    plain, state = plain_names(model), model.state_dict()
    weights = OrderedDict((plain(name), value) for name, value in state.items())
    versions = getattr(state, "_metadata", {})
    vars(weights)["_metadata"] = OrderedDict((plain(path), version) for path, version in versions.items())
    return weights


def take_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Fill the model's tensors in place from a state_dict under plain names that fits."""
    plain = plain_names(model)
    state = OrderedDict((name, weights[plain(name)]) for name in model.state_dict())
    versions = getattr(weights, "_metadata", {})  # by which modules read what their older versions wrote
    vars(state)["_metadata"] = {path: versions.get(plain(path), {}) for path, _ in modules_of(model)}
    model.load_state_dict(state)


def misfit(model: nn.Module, weights: Mapping[str, Any]) -> str:
    """In words, why a state_dict under plain names does not fit the model; empty where it fits."""
    own = weights_of(model)
    told = differences("weights", own, weights)
    if told:
        return told
    for name, value in own.items():
        if isinstance(value, Tensor) and not isinstance(value, UNINITIALIZED):
            there = getattr(weights[name], "shape", None)
            if there != value.shape:
                shape = "no shape" if there is None else f"the shape {tuple(there)}"
                return f"{name!r} has {shape} in the file and {tuple(value.shape)} in the model"
    return ""


def named(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, then the buffers of the state_dict that hold fractions; tied ones once, none without values."""
    kept, plain, taken = model.state_dict().keys(), plain_names(model), set[str]()
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if name in kept and has_numbers(tensor):
            yield unique(plain(name).replace(".", "/"), taken), tensor  # modules, too, may have a / in their names


def arrays(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The same as arrays."""
    for name, tensor in named(model):
        yield name, as_array(tensor)


def has_numbers(tensor: Tensor) -> bool:
    """Whether it holds fractions, or what stands for some, and has them at hand."""
    fractions = tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized
    return fractions and not tensor.is_meta and not isinstance(tensor, UNINITIALIZED)


def as_array(tensor: Tensor, *, copied: bool = False) -> Any:
    """The numbers in NumPy's types, quantised ones as what they stand for, sparse ones with their zeros.

    Args:
        tensor: one that `has_numbers`.
        copied: whether the array shares no memory with the tensor; else it may, and cannot be written to.
    """
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_nested:
        tensor = cast("Any", tensor).values()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    moved = tensor.to("cpu").resolve_conj().resolve_neg()
    if moved.is_complex():
        moved = torch.view_as_real(moved)
    array = (moved if moved.dtype in (torch.float32, torch.float64) else moved.float()).numpy()
    if copied:
        return array.copy()
    array.setflags(write=False)
    return array


def differences(kind: str, wanted: Iterable[str], there: Iterable[str]) -> str:
    """In words, which names are wanted and not there, and the other way round; empty where they are the same.

    >>> differences("weights", ["fc.weight"], ["fcc.weight"])
    "the file lacks the weights 'fc.weight' (it has 'fcc.weight'); the model lacks the weights 'fcc.weight'"
    """
    wanted, there = list(wanted), list(there)
    missing = [name for name in wanted if name not in set(there)]
    unexpected = [name for name in there if name not in set(wanted)]
    told: list[str] = []
    if missing:
        near = nearest(missing[0], unexpected)
        told.append(f"the file lacks the {kind} {_listed(missing)}" + (f" (it has {near!r})" if near else ""))
    if unexpected:
        told.append(f"the model lacks the {kind} {_listed(unexpected)}")
    return "; ".join(told)


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def plain_names(model: nn.Module) -> Callable[[str], str]:
    """What a weight or module would be called if nothing in the model were wrapped.

    Wrappers are DataParallel, DistributedDataParallel, FullyShardedDataParallel and what `torch.compile` makes of a
    module, wherever they stand.

    >>> plain_names(nn.DataParallel(nn.Linear(1, 1)))("module.weight")
    'weight'
    """
    inner = [f"{path}.{held}".lstrip(".") for path, module in modules_of(model) if (held := _held(module))]
    inner.sort(key=len, reverse=True)  # from the inside out, so that the outer paths still fit

    def plain(name: str) -> str:
        for path in inner:
            if f"{name}.".startswith(f"{path}."):
                name = f"{path.rpartition('.')[0]}{name[len(path) :]}".lstrip(".")
        return name

    return plain


def modules_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Path and module of the model and of everything in it."""
    return list(cast("Iterable[tuple[str, nn.Module]]", model.named_modules()))


def unwrapped(module: nn.Module) -> nn.Module:
    """The module itself, without the wrappers round it."""
    while held := _held(module):
        module = module.get_submodule(held)
    return module


def _held(module: nn.Module) -> str | None:
    """The name under which a wrapper holds what it wraps."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return "module"
    inner = dict(module.named_children())
    return next((name for name in ("_orig_mod", "_fsdp_wrapped_module") if name in inner), None)
