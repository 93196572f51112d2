"""Learning rates of torch optimizers by name, and cuts that their schedulers keep.

A scheduler either goes on from the present rate (StepLR, ExponentialLR, CosineAnnealingLR) or computes each rate anew
from values that it noted at its beginning (LambdaLR, OneCycleLR, CyclicLR, CosineAnnealingWarmRestarts). So a rate is
changed together with those values, and every later rate is the same multiple of what the schedule would have given.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer

from trainbus import SettingsError
from trainbus.metrics.names import first_free

__all__ = ["Rate", "named_rates", "scale", "undone_by"]

NOTED = ("initial_lr", "max_lr", "min_lr", "swa_lr")
"""Keys of a parameter group under which schedulers note values to compute rates from."""


class Rate(NamedTuple):
    """Where one learning rate stands."""

    optimizer: Optimizer
    group: int

    @property
    def stored(self) -> Any:
        """The present rate as the optimizer has it: a number, or a tensor that may lie on a device."""
        return self.optimizer.param_groups[self.group]["lr"]

    @property
    def value(self) -> float:
        """The present rate; waits for the device where the rate is a tensor."""
        return float(self.stored)

    def write(self, value: float) -> None:
        """Change the rate, in place where it is a tensor, since a captured CUDA graph reads that one.

        Raises:
            SettingsError: the optimizer does not keep what is written.
        """
        group = self.optimizer.param_groups[self.group]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value
        if not math.isclose(self.value, value, rel_tol=1e-6):  # a tensor rate is a float32
            kind = type(self.optimizer).__name__
            raise SettingsError(f"{kind} does not keep its learning rate: {value} was written, {self.value} is there")


def named_rates(optimizers: Mapping[str, Optimizer]) -> dict[str, Rate]:
    """Every learning rate that acts: the only one as "learning_rate", several as "learning_rate/<optimizer>/<group>".

    The optimizer's name is left out where there is one optimizer, the group's where the optimizer has one group. A
    group is named by its key "name", or else by its number.
    """
    rates: dict[str, Rate] = {}
    for name, optimizer in optimizers.items():
        groups = optimizer.param_groups
        for index, group in enumerate(groups):
            # Rprop reads its rate once, then adapts a step of its own to every weight
            if group.get("lr") is not None and not isinstance(optimizer, torch.optim.Rprop):
                parts = [name] * (len(optimizers) > 1) + [str(group.get("name", index))] * (len(groups) > 1)
                full = "/".join(["learning_rate", *parts])
                rates[first_free(full, rates)] = Rate(optimizer, index)
    return {"learning_rate": next(iter(rates.values()))} if len(rates) == 1 else rates


def scale(optimizer: Any, schedulers: Iterable[Any], factors: Sequence[float]) -> None:
    """Let the schedules of an optimizer go on at `factors`, one a group, of their height; its rates are written."""
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group.update({key: group[key] * factor for key in NOTED if key in group})
    for scheduler in _flat(schedulers):
        for noted in ("base_lrs", "max_lrs"):
            if hasattr(scheduler, noted):
                values = zip(getattr(scheduler, noted), factors, strict=False)
                setattr(scheduler, noted, [value * factor for value, factor in values])
        if hasattr(scheduler, "eta_min"):  # one value for all groups: the height of the one that was cut least
            scheduler.eta_min *= max(factors)
        if hasattr(scheduler, "_last_lr"):  # what get_last_lr() tells
            rates = (group["lr"] for group in optimizer.param_groups)
            scheduler._last_lr = [rate.clone() if isinstance(rate, torch.Tensor) else rate for rate in rates]  # noqa: SLF001


def undone_by(optimizers: Mapping[str, Optimizer], schedulers: Mapping[str, Any]) -> str | None:
    """Why a changed rate would not last: a scheduler that nobody gave, or one that computes rates its own way."""
    for name, optimizer in optimizers.items():
        given = any(getattr(scheduler, "optimizer", None) is optimizer for scheduler in schedulers.values())
        if hasattr(optimizer.step, "_wrapped_by_lr_sched") and not given:
            return (
                f"a learning rate scheduler that was not given drives {name!r} and could undo every change; "
                f"give it: TorchSubject(model, optimizer, scheduler=scheduler)"
            )
    for name, scheduler in schedulers.items():
        for each in _flat([scheduler]):
            if not type(each).__module__.startswith("torch.optim.") and not _keeps_a_cut(each):
                return (
                    f"{type(each).__name__} ({name!r}) would undo every change: it computes its rates neither from the "
                    f"present ones nor from base_lrs"
                )
    return None


def _keeps_a_cut(scheduler: Any) -> bool:
    """Whether half the rate now leads to half the rate at the next step, tried on a copy."""
    try:
        whole, half = (_next_rates(scheduler, factor) for factor in (1.0, 0.5))
    except (AttributeError, NotImplementedError):
        return False
    return all(math.isclose(float(a), 2 * float(b), rel_tol=1e-6) for a, b in zip(whole, half, strict=True))


def _next_rates(scheduler: Any, factor: float) -> list[Any]:
    trial = copy.copy(scheduler)
    groups: list[dict[str, Any]] = [{**group, "params": []} for group in scheduler.optimizer.param_groups]
    for group in groups:
        group["lr"] = group["lr"] * factor
    trial.optimizer = SimpleNamespace(param_groups=groups)
    trial.last_epoch += 1
    scale(trial.optimizer, [trial], [factor] * len(groups))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # get_lr() is meant for step(), and says so
        return list(trial.get_lr())


def _flat(schedulers: Iterable[Any]) -> Iterator[Any]:
    for scheduler in schedulers:
        yield scheduler
        yield from _flat(getattr(scheduler, "_schedulers", ()))  # those of ChainedScheduler and SequentialLR
