"""A module's weights under plain names: those that they would have if no module were wrapped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import UninitializedBuffer, UninitializedParameter

from trainbus.metrics.names import nearest, unique

UNINITIALIZED = (UninitializedParameter, UninitializedBuffer)
"""Types of the weights of lazy modules before their first batch."""


def weights_of(model: nn.Module) -> OrderedDict[str, Any]:
    """Return the model's state_dict under plain names, without copying its tensors."""
    plain, state = plain_names(model), model.state_dict()
    weights = OrderedDict((plain(name), value) for name, value in state.items())
    versions = getattr(state, "_metadata", {})
    vars(weights)["_metadata"] = OrderedDict((plain(path), version) for path, version in versions.items())
    return weights


def weights_of_part(weights: Mapping[str, Any], name: str) -> OrderedDict[str, Any]:
    """Return the state_dict of one of several models, from that of all under plain names."""
    start = f"{name}."
    found = OrderedDict((key.removeprefix(start), each) for key, each in weights.items() if key.startswith(start))
    versions: Mapping[str, Any] = getattr(weights, "_metadata", {})
    own = ((f"{path}.", version) for path, version in versions.items() if f"{path}.".startswith(start))
    vars(found)["_metadata"] = OrderedDict((path.removeprefix(start).rstrip("."), version) for path, version in own)
    return found


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Fill the model's tensors in place from a state_dict under plain names that fits the model."""
    plain = plain_names(model)
    state = OrderedDict((name, weights[plain(name)]) for name in model.state_dict())
    versions = getattr(weights, "_metadata", {})  # modules need them to read the state of their older versions
    vars(state)["_metadata"] = {path: versions.get(plain(path), {}) for path, _ in modules_of(model)}
    model.load_state_dict(state)


def mismatch(model: nn.Module, weights: Mapping[str, Any], source: str = "file") -> str:
    """Describe why a state_dict under plain names does not fit the model; return "" if it fits.

    Args:
        model: The model.
        weights: The state_dict.
        source: What holds it, in the message.
    """
    own = weights_of(model)
    if difference := differences("weights", own, weights, source):
        return difference
    for name, value in own.items():
        if isinstance(value, Tensor) and not isinstance(value, UNINITIALIZED):
            found = getattr(weights[name], "shape", None)
            if found != value.shape:
                shape = "no shape" if found is None else f"the shape {tuple(found)}"
                return f"{name!r} has {shape} in the {source} and {tuple(value.shape)} in the model"
    return ""


def named_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters, then the floating-point buffers of the state_dict.

    Tied weights come once, weights without values not at all.
    """
    kept, plain, taken = model.state_dict().keys(), plain_names(model), set[str]()
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if name in kept and is_numeric(tensor):
            yield unique(plain(name).replace(".", "/"), taken), tensor  # names of modules may hold a / too


def is_numeric(tensor: Tensor) -> bool:
    """Return whether the tensor holds floating-point, complex or quantized numbers and has values."""
    fractional = tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized
    return fractional and not tensor.is_meta and not isinstance(tensor, UNINITIALIZED)


def as_array(tensor: Tensor, *, copied: bool = False) -> Any:
    """Return the tensor's numbers as a float32 or float64 array, dequantized and dense.

    Args:
        tensor: A tensor that ``is_numeric``; a complex number becomes a pair of numbers in a new last axis.
        copied: Whether the array shares no memory with the tensor; otherwise it may, and is read-only.
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


def differences(kind: str, expected: Iterable[str], found: Iterable[str], source: str = "file") -> str:
    """Describe which names the source and the model do not share; return "" if they share all.

    >>> differences("weights", ["fc.weight"], ["fcc.weight"])
    "the file lacks the weights 'fc.weight' (it has 'fcc.weight'); the model lacks the weights 'fcc.weight'"
    """
    expected, found = dict.fromkeys(expected), dict.fromkeys(found)
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    sentences: list[str] = []
    if missing:
        near = nearest(missing[0], unexpected)
        sentences.append(f"the {source} lacks the {kind} {listed(missing)}" + (f" (it has {near!r})" if near else ""))
    if unexpected:
        sentences.append(f"the model lacks the {kind} {listed(unexpected)}")
    return "; ".join(sentences)


def listed(names: list[str], most: int = 5) -> str:
    """Return the first names in quotes, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def plain_names(model: nn.Module) -> Callable[[str], str]:
    """Return a function from the name of a weight or module to its name without wrappers.

    Wrappers are DataParallel, DistributedDataParallel, FullyShardedDataParallel and the result of ``torch.compile``,
    at any depth.

    >>> plain_names(nn.DataParallel(nn.Linear(1, 1)))("module.weight")
    'weight'
    """
    inner = [f"{path}.{held}".lstrip(".") for path, module in modules_of(model) if (held := _wrapped_name(module))]
    inner.sort(key=len, reverse=True)  # the innermost first, so that the outer paths still match

    def plain(name: str) -> str:
        for path in inner:
            if f"{name}.".startswith(f"{path}."):
                name = f"{path.rpartition('.')[0]}{name[len(path) :]}".lstrip(".")
        return name

    return plain


def modules_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return path and module of the model and of all modules in it."""
    return list(cast("Iterable[tuple[str, nn.Module]]", model.named_modules()))


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside its wrappers."""
    while held := _wrapped_name(module):
        module = module.get_submodule(held)
    return module


def joins(model: nn.Module) -> bool:
    """Return whether the model is inside ``DistributedDataParallel.join``, or has been: torch keeps the mark."""
    return any(getattr(getattr(each, "_join_config", None), "enable", False) for _, each in modules_of(model))


def why_unset(model: nn.Module) -> str | None:
    """Return why the weights cannot be used: a lazy module has not seen a batch yet; None if they can."""
    unset = any(isinstance(each, UNINITIALIZED) for each in model.parameters())
    return "the model has weights without values until its first batch" if unset else None


def _wrapped_name(module: nn.Module) -> str | None:
    """Return the attribute under which a wrapper holds its module; None if it is not a wrapper."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return "module"
    inner: Mapping[str, Any] = vars(module)["_modules"]
    return next((name for name in ("_orig_mod", "_fsdp_wrapped_module") if inner.get(name) is not None), None)
