"""The gradients of a model's weights as the optimizers use them for an update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ..weights import as_array, named_weights


def why_no_gradients(optimizers: Mapping[str, Any]) -> str | None:
    """Return why gradients cannot be read; None if they can."""
    if not optimizers:
        return "gradients are seen when an optimizer makes an update; give it: TorchSubject(model, optimizer)"
    for name, each in optimizers.items():
        if not hasattr(each, "register_step_pre_hook"):
            return f"the optimizer {name!r} is a {type(each).__name__}, which has no hook for its updates"
    return None


def hold_gradients(model: nn.Module, optimizers: Mapping[str, Any]) -> Callable[[], Iterable[tuple[str, Any]]]:
    """Copy the gradients at the next update of each optimizer; return a function that returns the copies.

    The copies are made there since a loop may clear the gradients right after the update. They include earlier changes
    such as clipping. An error while reading them does not stop the update; the returned function raises it.
    """
    found: dict[str, Any] = {}
    errors: list[Exception] = []
    done: set[int] = set()  # a hook that removed itself would disturb the hooks after it

    def hold(optimizer: Any, _: Any, __: Any) -> None:
        if id(optimizer) in done or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
            return  # a copy would break the capture
        done.add(id(optimizer))
        try:
            names = {id(weight): name for name, weight in named_weights(model)}  # lazy weights have values by now
            for weight in (each for group in optimizer.param_groups for each in group["params"]):
                name, gradient = names.get(id(weight)), weight.grad
                if name is not None and gradient is not None:
                    values = gradient.coalesce().values() if gradient.is_sparse else gradient
                    found[name] = as_array(values, copied=True)
        except Exception as error:  # noqa: BLE001 - raised by gradients()
            errors.append(error)

    handles = [each.register_step_pre_hook(hold) for each in optimizers.values()]

    def gradients() -> Iterable[tuple[str, Any]]:
        for handle in handles:
            handle.remove()
        if errors:
            raise errors[0]
        return [(name, found[name]) for name, _ in named_weights(model) if name in found]

    return gradients
