"""Optimizers and schedulers inside the wrappers of other libraries, such as Accelerate's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

INNER_OPTIMIZER = ("optimizer", "_optimizer", "optim")
INNER_SCHEDULER = ("scheduler", "lr_scheduler", "_scheduler")
"""Attributes in which a wrapper keeps what it wraps."""


def unwrapped_optimizer(optimizer: Any) -> Any:
    """Return the optimizer in a wrapper that has its groups and its state, or else the optimizer itself.

    Lookahead and SAM, which have a state of their own, are no such wrappers.
    """
    for name in INNER_OPTIMIZER:
        inner = _attributes(optimizer).get(name)
        if hasattr(inner, "param_groups") and _has_no_state_of_its_own(optimizer, inner):
            return unwrapped_optimizer(inner)
    return optimizer


def unwrapped_scheduler(scheduler: Any) -> Any:
    """Return the scheduler in a wrapper that drives no optimizer by itself, or else the scheduler itself."""
    for name in INNER_SCHEDULER:
        inner = _attributes(scheduler).get(name)
        if hasattr(inner, "get_last_lr") and not hasattr(scheduler, "optimizer"):
            return unwrapped_scheduler(inner)
    return scheduler


def inner_optimizers(optimizer: Any) -> Iterator[Any]:
    """Yield the optimizers among the attributes of an optimizer, to which it passes on its updates."""
    for value in _attributes(optimizer).values():
        inside: list[Any] = [value]
        if issubclass(value.__class__, dict):
            inside = list(value.values())
        elif issubclass(value.__class__, (list, tuple)):
            inside = list(value)
        yield from (each for each in inside if hasattr(each, "param_groups"))


def drives(scheduler: Any, optimizer: Any) -> bool:
    """Return whether a scheduler changes the rates of an optimizer, which may be or have a wrapper."""
    driven = getattr(scheduler, "optimizer", None)
    if driven is None:
        return False
    return (
        driven is optimizer
        or shares_groups(driven, optimizer)
        or any(each is driven for each in inner_optimizers(optimizer))
    )


def shares_groups(one: Any, other: Any) -> bool:
    """Return whether two optimizers have a parameter group in common, not only its parameters."""
    mine = {id(group) for group in one.param_groups}
    return any(id(group) in mine for group in other.param_groups)


def _has_no_state_of_its_own(wrapper: Any, inner: Any) -> bool:
    same_state = getattr(wrapper, "state", None) is getattr(inner, "state", None)
    return same_state and wrapper.param_groups is inner.param_groups


def _attributes(thing: Any) -> dict[str, Any]:
    return getattr(thing, "__dict__", {})
