"""What a PyTorch model is looked at with: data, and a look that leaves no trace."""

# modules tell nobody else which of their buffers were replaced
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import Parameter, signature
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from trainbus import LoopError, SettingsError
from trainbus.metrics.names import unique
from trainbus.resume.dataloader_state import generators_of

from ..weights import as_array, has_numbers, modules_of, plain_names, unwrapped

__all__ = ["Arguments", "Probe", "looking", "outputs"]

_ALONE = threading.RLock()


class Arguments(NamedTuple):
    """What a model is called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Probe:
    """Data to look at a model with, as often as wanted.

    Args:
        data: a tensor, or a tuple or mapping of tensors, whose rows are samples; or anything that gives batches in a
            loop, such as a DataLoader. What the model takes of a batch is told by its `forward`: of a tuple the first
            elements, as many as `forward` needs; of a mapping, arguments by name, or else the mapping itself.

    Raises:
        SettingsError: it can be gone through only once.
    """

    def __init__(self, data: Any) -> None:
        if hasattr(data, "__next__"):
            raise SettingsError(
                f"probe is a {type(data).__name__}, which can be gone through only once; give tensors, or a loader"
            )
        self._whole = isinstance(data, (Tensor, np.ndarray, tuple, Mapping))
        if not self._whole and not hasattr(data, "__iter__"):
            raise SettingsError(f"probe is a {type(data).__name__}; give tensors, or a loader of batches")
        self.data = data

    def slices(self, model: nn.Module, size: int) -> Generator[Arguments]:
        """What the model is called with, for at most so many samples after the other.

        Raises:
            LoopError: there is no batch.
        """
        generators = [] if self._whole else list(generators_of(self.data))
        states = [each.get_state() for each in generators]  # the training's loader may draw from the same ones
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        batch: Any = None
        try:
            for batch in [self.data] if self._whole else self.data:
                args, kwargs = _arguments(model, batch)
                rows = _rows((args, kwargs))
                for start in range(0, rows or 1, size):
                    part = slice(start, start + size) if rows and rows > size else None
                    yield Arguments(_cut(args, rows, part, device), _cut(kwargs, rows, part, device))
            if batch is None:
                raise LoopError("the probe has no batch to look at the model with")
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def _arguments(model: nn.Module, batch: Any) -> Arguments:
    parameters = _parameters(model)
    if isinstance(batch, Mapping):
        given = dict(cast("Mapping[str, Any]", batch))
        needed = {name for name, each in parameters.items() if each.default is Parameter.empty and each.kind in NAMED}
        taken = {name: value for name, value in given.items() if name in parameters}
        if any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values()):
            taken = given
        return Arguments((), taken) if taken and needed <= taken.keys() else Arguments((given,), {})
    if isinstance(batch, (tuple, list)):
        parts: tuple[Any, ...] = tuple(cast("Any", batch))
        if parts and isinstance(parts[0], (tuple, list, Mapping)):
            return _arguments(model, parts[0])
        needs = [each for each in parameters.values() if each.kind in PLACED and each.default is Parameter.empty]
        return Arguments(parts[: max(1, len(needs))], {})
    return Arguments((batch,), {})


PLACED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _parameters(model: nn.Module) -> Mapping[str, Parameter]:
    try:
        return signature(model.forward).parameters
    except (TypeError, ValueError):  # a scripted module tells nothing
        return {}


def _tensors(value: Any) -> Iterator[Any]:
    """All tensors and arrays, however they are nested."""
    if isinstance(value, (Tensor, np.ndarray)):
        yield value
    elif isinstance(value, Mapping):
        for key in cast("Any", value):
            yield from _tensors(value[key])
    elif isinstance(value, (tuple, list)):
        for item in cast("tuple[Any, ...]", value):
            yield from _tensors(item)


def _rows(value: Any) -> int | None:
    """Number of samples: the size of the first dimension; None where there is none to cut."""
    return next((each.shape[0] for each in _tensors(value) if each.ndim), None)


def _cut(value: Any, rows: int | None, part: slice | None, device: torch.device) -> Any:
    """The part of all that has so many rows, on the device."""
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        cut = value[part] if part is not None and value.ndim and value.shape[0] == rows else value
        return cut.to(device)
    if isinstance(value, Mapping):
        return {key: _cut(value[key], rows, part, device) for key in cast("Any", value)}
    if isinstance(value, (tuple, list)):
        items = [_cut(item, rows, part, device) for item in cast("tuple[Any, ...]", value)]
        return tuple(items) if isinstance(value, tuple) else items
    return value.to(device) if hasattr(value, "to") else value


@contextmanager
def looking(model: nn.Module) -> Generator[None]:
    """In evaluation mode and without gradients; afterwards every module and buffer is as it was.

    `eval` itself is not called: some modules fold weights into others when it is. One look at a time, in whatever
    thread: the compiler's stance, and what a tracer prints to, belong to the whole process.
    """
    modules = list(model.modules())
    training = [module for module in modules if module.training]
    held = [(module, dict(module._buffers)) for module in modules if module._buffers]
    buffers = {id(each): each for _, own in held for each in own.values() if each is not None and not each.is_meta}
    copies = [(each, each._version, each.detach().clone()) for each in buffers.values()]
    try:
        with _ALONE, ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if "torch._dynamo" in sys.modules:  # something may be compiled, which is not to be compiled anew for this
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            for module in training:
                module.training = False
            yield
    finally:
        for module in training:
            module.training = True
        for module, own in held:
            module._buffers.clear()
            module._buffers.update(own)
        with torch.no_grad():
            for buffer, version, copy in copies:
                if buffer._version != version:
                    buffer.copy_(copy)


def outputs(model: nn.Module, arguments: Arguments) -> list[tuple[str, Any]]:
    """Name and array of what each module that calls no other one puts out, in one pass."""
    plain, found = plain_names(model), list[tuple[str, Any]]()
    inner = [False]  # of each module that is being called, whether it has called another
    handles: list[Any] = []

    def watch(module: nn.Module, name: str) -> None:
        def before(*_: Any) -> None:
            inner.append(False)

        def after(_: nn.Module, __: Any, output: Any) -> None:
            if not inner.pop():
                numeric = [each for each in _tensors(_plain(output)) if isinstance(each, Tensor) and has_numbers(each)]
                names = [name] if len(numeric) == 1 else [f"{name}/{number}" for number in range(len(numeric))]
                # copied at once: the next module may work in place
                found.extend((each, as_array(tensor, copied=True)) for each, tensor in zip(names, numeric, strict=True))
            inner[-1] = True

        handles.extend([module.register_forward_pre_hook(before), module.register_forward_hook(after)])

    try:
        taken, names = set[str](), dict[str, str]()
        for path, module in modules_of(model):
            if (place := plain(path)) not in names:  # that of a wrapper is that of what it wraps
                names[place] = unique(place.replace(".", "/") or type(unwrapped(model)).__name__, taken)
            watch(module, names[place])
        with looking(model):
            model(*arguments.args, **arguments.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _plain(output: Any) -> Any:
    """What dataclasses hold, for some models put them out."""
    return cast("Any", vars(output)) if hasattr(output, "__dataclass_fields__") else output
