"""The gradients of a model's weights, as the optimizers have them when they make an update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ..weights import as_array, named

__all__ = ["hold_gradients", "unheld"]


def unheld(optimizers: Mapping[str, Any]) -> str | None:
    """Why gradients cannot be had; None where they can."""
    if not optimizers:
        return "gradients are seen when an optimizer makes an update; give it: TorchSubject(model, optimizer)"
    for name, each in optimizers.items():
        if not hasattr(each, "register_step_pre_hook"):
            return f"the optimizer {name!r} is a {type(each).__name__}, which tells nobody of its updates"
    return None


def hold_gradients(model: nn.Module, optimizers: Mapping[str, Any]) -> Callable[[], Iterable[tuple[str, Any]]]:
    """Copy, at the next update of each optimizer, the gradients that it takes; what is returned gives them.

    They are taken there because a loop may do away with them right after the update. What comes before, clipping say,
    is in them. Where they cannot be read, whoever asks for them hears why, and the update is made.
    """
    found: dict[str, Any] = {}
    failed: list[Exception] = []  # for whoever asks: the training is not to fail by this
    done: set[int] = set()  # a hook that removes itself would disturb those after it

    def hold(optimizer: Any, _: Any, __: Any) -> None:
        if id(optimizer) in done or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
            return  # a copy would end the capture
        done.add(id(optimizer))
        try:
            names = {id(weight): name for name, weight in named(model)}  # by now lazy ones have values
            for weight in (each for group in optimizer.param_groups for each in group["params"]):
                name, gradient = names.get(id(weight)), weight.grad
                if name is not None and gradient is not None:
                    values = gradient.coalesce().values() if gradient.is_sparse else gradient
                    found[name] = as_array(values, copied=True)
        except Exception as error:  # noqa: BLE001 - handed on
            failed.append(error)

    handles = [each.register_step_pre_hook(hold) for each in optimizers.values()]

    def gradients() -> Iterable[tuple[str, Any]]:
        for handle in handles:
            handle.remove()
        if failed:
            raise failed[0]
        return [(name, found[name]) for name, _ in named(model) if name in found]

    return gradients
