"""Run probe data through a PyTorch model without changing it."""

# modules have no public way to see which of their buffers were replaced
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
from trainbus.resume.loaders.dataloader_state import generators_of

from ..weights import as_array, is_numeric, modules_of, plain_names, unwrapped

_LOCK = threading.RLock()


class Arguments(NamedTuple):
    """The arguments of one call of a model."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Probe:
    """Data to run through a model any number of times.

    Args:
        data: A tensor, or a tuple or mapping of tensors, whose rows are samples; or an iterable of batches, such as a
            DataLoader. The signature of the model's ``forward`` decides what it gets of a batch: of a tuple the first
            elements, as many as ``forward`` requires; of a mapping, arguments by name, or else the mapping itself.

    Raises:
        SettingsError: The data can be iterated only once, or is not data.
    """

    def __init__(self, data: Any) -> None:
        if hasattr(data, "__next__"):
            raise SettingsError(
                f"probe is a {type(data).__name__}, which can be iterated only once; give tensors, or a loader"
            )
        self._is_batch = isinstance(data, (Tensor, np.ndarray, tuple, Mapping))
        if not self._is_batch and not hasattr(data, "__iter__"):
            raise SettingsError(f"probe is a {type(data).__name__}; give tensors, or a loader of batches")
        self.data = data

    def batches(self, model: nn.Module, size: int) -> Generator[Arguments]:
        """Yield the arguments of calls of the model with at most ``size`` samples each.

        Raises:
            LoopError: The data has no batch.
        """
        generators = [] if self._is_batch else list(generators_of(self.data))
        states = [each.get_state() for each in generators]  # the training's loader may draw from the same generators
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        batch: Any = None
        try:
            for batch in [self.data] if self._is_batch else self.data:
                args, kwargs = _arguments(model, batch)
                rows = _rows((args, kwargs))
                for start in range(0, rows or 1, size):
                    part = slice(start, start + size) if rows and rows > size else None
                    yield Arguments(_cut(args, rows, part, device), _cut(kwargs, rows, part, device))
            if batch is None:
                raise LoopError("the probe has no batch")
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def _arguments(model: nn.Module, batch: Any) -> Arguments:
    parameters = _parameters(model)
    if isinstance(batch, Mapping):
        given = dict(cast("Mapping[str, Any]", batch))
        required = {name for name, each in parameters.items() if each.default is Parameter.empty and each.kind in NAMED}
        accepted = {name: value for name, value in given.items() if name in parameters}
        if any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values()):
            accepted = given
        return Arguments((), accepted) if accepted and required <= accepted.keys() else Arguments((given,), {})
    if isinstance(batch, (tuple, list)):
        parts: tuple[Any, ...] = tuple(cast("Any", batch))
        if parts and isinstance(parts[0], (tuple, list, Mapping)):
            return _arguments(model, parts[0])
        count = sum(each.kind in POSITIONAL and each.default is Parameter.empty for each in parameters.values())
        return Arguments(parts[: max(1, count)], {})
    return Arguments((batch,), {})


POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _parameters(model: nn.Module) -> Mapping[str, Parameter]:
    try:
        return signature(model.forward).parameters
    except (TypeError, ValueError):  # a scripted module has no signature
        return {}


def _tensors(value: Any) -> Iterator[Any]:
    """Yield all tensors and arrays, however they are nested."""
    if isinstance(value, (Tensor, np.ndarray)):
        yield value
    elif isinstance(value, Mapping):
        for key in cast("Any", value):
            yield from _tensors(value[key])
    elif isinstance(value, (tuple, list)):
        for item in cast("tuple[Any, ...]", value):
            yield from _tensors(item)


def _rows(value: Any) -> int | None:
    """Return the number of samples, the size of the first dimension; None without a dimension."""
    return next((each.shape[0] for each in _tensors(value) if each.ndim), None)


def _cut(value: Any, rows: int | None, part: slice | None, device: torch.device) -> Any:
    """Move everything to the device, and slice each tensor that has this number of rows."""
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
def evaluation_without_side_effects(model: nn.Module) -> Generator[None]:
    """Set evaluation mode without gradients; afterwards restore every module and buffer.

    ``eval`` itself is not called, since some modules fold weights into others in it. Only one thread at a time can be
    inside, since the compiler's stance and the standard streams that a tracer redirects belong to the process.
    """
    modules = list(model.modules())
    training = [module for module in modules if module.training]
    held = [(module, dict(module._buffers)) for module in modules if module._buffers]
    buffers = {id(each): each for _, own in held for each in own.values() if each is not None and not each.is_meta}
    copies = [(each, each._version, each.detach().clone()) for each in buffers.values()]
    try:
        with _LOCK, ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if "torch._dynamo" in sys.modules:  # a compiled module must not be compiled again for this
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
    """Return name and array of the outputs of each module that calls no other module, in one forward pass."""
    plain, found = plain_names(model), list[tuple[str, Any]]()
    inner = [False]  # for each module that is being called, whether it has called another
    handles: list[Any] = []

    def watch(module: nn.Module, name: str) -> None:
        def before(*_: Any) -> None:
            inner.append(False)

        def after(_: nn.Module, __: Any, output: Any) -> None:
            if not inner.pop():
                fields = cast("Any", vars(output)) if hasattr(output, "__dataclass_fields__") else output
                numeric = [each for each in _tensors(fields) if isinstance(each, Tensor) and is_numeric(each)]
                names = [name] if len(numeric) == 1 else [f"{name}/{number}" for number in range(len(numeric))]
                # copy now: the next module may work in place
                found.extend((each, as_array(tensor, copied=True)) for each, tensor in zip(names, numeric, strict=True))
            inner[-1] = True

        handles.extend([module.register_forward_pre_hook(before), module.register_forward_hook(after)])

    try:
        taken, names = set[str](), dict[str, str]()
        for path, module in modules_of(model):
            if (plain_path := plain(path)) not in names:  # a wrapper has the plain path of its module
                names[plain_path] = unique(plain_path.replace(".", "/") or type(unwrapped(model)).__name__, taken)
            watch(module, names[plain_path])
        with evaluation_without_side_effects(model):
            model(*arguments.args, **arguments.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def why_no_probe(probe: Probe | None, model: nn.Module, made_by: str) -> str | None:
    """Return why a probe cannot run through the model; None if it can."""
    if probe is None:
        return f"no probe data was given; give it: {made_by}(..., probe=validation_loader)"
    if any(hasattr(each, "device_mesh") for each in model.parameters()):
        return "the model is sharded over several processes, which would all have to run the probe together"
    return None
