"""Learning rates of torch optimizers by name, and changes of them that schedulers do not undo.

A scheduler either continues from the current rate (StepLR, ExponentialLR, CosineAnnealingLR) or computes each rate from
values that it stored at its start (LambdaLR, OneCycleLR, CyclicLR, CosineAnnealingWarmRestarts). A change of a rate
therefore changes those values too, and every later rate is the same multiple of what the schedule would have given.
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
from trainbus.metrics.names import first_free, hint

from ..wrappers import drives
from .schedules import flat, is_scheduled, ungiven

SCHEDULE_KEYS = ("initial_lr", "max_lr", "min_lr", "swa_lr")
"""Keys of a parameter group under which schedulers store values to compute rates from."""


class GroupLearningRate(NamedTuple):
    """One learning rate: that of a parameter group of an optimizer."""

    optimizer: Optimizer
    group: int

    @property
    def stored(self) -> Any:
        """The current rate as the optimizer has it: a number, or a tensor on any device."""
        return self.optimizer.param_groups[self.group]["lr"]

    @property
    def value(self) -> float:
        """The current rate as a number; waits for the device if the rate is a tensor."""
        return float(self.stored)

    def rounded(self, value: float) -> float:
        """Return a rate in the data type in which the optimizer has it."""
        stored = self.stored
        return float(torch.tensor(value, dtype=stored.dtype)) if isinstance(stored, torch.Tensor) else value

    def write(self, value: float) -> None:
        """Change the rate; fill a tensor in place, since a captured CUDA graph reads it.

        Raises:
            SettingsError: The optimizer does not keep the new rate.
        """
        group = self.optimizer.param_groups[self.group]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value
        if not math.isclose(self.value, value, rel_tol=1e-6):  # a tensor rate is a float32
            kind = type(self.optimizer).__name__
            raise SettingsError(f"{kind} does not keep its learning rate: set to {value}, it is {self.value}")


def named_rates(optimizers: Mapping[str, Optimizer]) -> dict[str, GroupLearningRate]:
    """Return every learning rate that takes effect, by name.

    A single rate is "learning_rate"; several are "learning_rate/<optimizer>/<group>", without the optimizer's name if
    there is one optimizer and without the group's if the optimizer has one group. A group's name is its key "name", or
    else its number.
    """
    rates: dict[str, GroupLearningRate] = {}
    for where, optimizer, index in _named_groups(optimizers):
        # Rprop reads its rate once, then adapts a separate step size for every weight
        if optimizer.param_groups[index].get("lr") is not None and not isinstance(optimizer, torch.optim.Rprop):
            rates[first_free(f"learning_rate{where}", rates)] = GroupLearningRate(optimizer, index)
    return {"learning_rate": next(iter(rates.values()))} if len(rates) == 1 else rates


def named_options(optimizers: Mapping[str, Optimizer]) -> dict[str, Any]:
    """Return all options of parameter groups except learning rates, such as "weight_decay", named as the rates are."""
    options: dict[str, Any] = {}
    for where, optimizer, index in _named_groups(optimizers):
        group = optimizer.param_groups[index]
        # Rprop's rate is its first step size
        own = {"params", "name", *SCHEDULE_KEYS, *(() if isinstance(optimizer, torch.optim.Rprop) else ("lr",))}
        for key, value in group.items():
            if key not in own:
                options[first_free(f"{key}{where}", options)] = value
    return options


def _named_groups(optimizers: Mapping[str, Optimizer]) -> Iterator[tuple[str, Optimizer, int]]:
    """Yield each parameter group, with "/<optimizer>/<group>" as far as there are several of them."""
    for name, optimizer in optimizers.items():
        groups = optimizer.param_groups
        for index, group in enumerate(groups):
            parts = [name] * (len(optimizers) > 1) + [str(group.get("name", index))] * (len(groups) > 1)
            yield "".join(f"/{part}" for part in parts), optimizer, index


def set_rates(optimizers: Mapping[str, Optimizer], schedulers: Mapping[str, Any], rates: Mapping[str, float]) -> None:
    """Change rates by name, and multiply the rest of their schedules by the same factor.

    Raises:
        SettingsError: No rate has this name, the optimizer does not keep the change, or a schedule is at 0.
    """
    known = named_rates(optimizers)
    for name in rates:
        if name not in known:
            near = hint(name, known)
            raise SettingsError(f"{name!r} is not a learning rate{near} learning rates: {', '.join(known) or 'none'}")
    for optimizer in optimizers.values():
        changes = {known[name]: value for name, value in rates.items() if known[name].optimizer is optimizer}
        if changes:
            own = [each for each in schedulers.values() if drives(each, optimizer)]
            _change(optimizer, own, changes)


def _change(optimizer: Optimizer, schedulers: Sequence[Any], changes: Mapping[GroupLearningRate, float]) -> None:
    factors = [1.0] * len(optimizer.param_groups)
    for rate, value in changes.items():
        if rate.value:
            factors[rate.group] = value / rate.value
        elif schedulers and value:
            raise SettingsError(f"the schedule has reached 0, and multiplying 0 cannot give {value}")
        rate.write(value)
    _rescale_schedules(optimizer, schedulers, factors)


def _rescale_schedules(optimizer: Any, schedulers: Iterable[Any], factors: Sequence[float]) -> None:
    """Multiply an optimizer's schedules by ``factors``, one per group; its current rates have already been changed."""
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group.update({key: group[key] * factor for key in SCHEDULE_KEYS if key in group})
    for scheduler in flat(schedulers):
        for attribute in ("base_lrs", "max_lrs"):
            if hasattr(scheduler, attribute):
                values = zip(getattr(scheduler, attribute), factors, strict=False)
                setattr(scheduler, attribute, [value * factor for value, factor in values])
        if hasattr(scheduler, "eta_min"):  # one value for all groups: use the factor of the group that was cut least
            scheduler.eta_min *= max(factors)
        if hasattr(scheduler, "_last_lr"):  # get_last_lr() returns it
            rates = (group["lr"] for group in optimizer.param_groups)
            scheduler._last_lr = [rate.clone() if isinstance(rate, torch.Tensor) else rate for rate in rates]  # noqa: SLF001


def why_not_settable(optimizers: Mapping[str, Optimizer], schedulers: Mapping[str, Any]) -> str | None:
    """Return why rates cannot be changed: there are none, or a scheduler would undo the change; None if they can."""
    if not optimizers:
        return "no optimizer was given; give it: TorchSubject(model, optimizer)"
    if not named_rates(optimizers):
        kinds = " and ".join(dict.fromkeys(type(each).__name__ for each in optimizers.values()))
        return f"{kinds} has no learning rate that acts while it trains"
    for name, optimizer in optimizers.items():
        given = any(drives(scheduler, optimizer) for scheduler in schedulers.values())
        if not given and is_scheduled(optimizer, schedulers.values()):
            return (
                f"a learning rate scheduler that was not given drives {name!r} and could undo every change; "
                f"give it: TorchSubject(model, optimizer, scheduler=scheduler)"
            )
    for name, scheduler in schedulers.items():
        for each in flat([scheduler]):
            if not type(each).__module__.startswith("torch.optim.") and (why := _why_undone(each)):
                return f"{type(each).__name__} ({name!r}) {why}"
    return None


def what_changes(optimizers: Mapping[str, Any], schedulers: Mapping[str, Any]) -> str:
    """Describe what may have changed a rate that schedulers should have kept."""
    found = ungiven(optimizers.values(), schedulers.values())
    unlisted = dict.fromkeys(type(each).__name__ for each in found)
    if unlisted:
        return (
            f"{' and '.join(unlisted)}, which was not given, sets it; "
            "give it: TorchSubject(model, optimizer, scheduler=scheduler)"
        )
    return "the loop sets it, or a scheduler that is not torch's; let it multiply the present rate instead"


def _why_undone(scheduler: Any) -> str:
    """Return why a scheduler undoes a change; empty if halving the rate, tried on a copy, also halves the next one."""
    kept = False
    try:
        full, half = (_next_rates(scheduler, factor) for factor in (1.0, 0.5))
        kept = all(math.isclose(float(a), 2 * float(b), rel_tol=1e-6) for a, b in zip(full, half, strict=True))
    except (AttributeError, NotImplementedError):  # it has no get_lr()
        pass
    except Exception as error:  # noqa: BLE001 - whatever a scheduler of a user raises
        return f"could undo every change: its next rates are not known ({type(error).__name__}: {error})"
    if kept:
        return ""
    return "would undo every change: it does not compute its rates from the present ones or from base_lrs"


def _next_rates(scheduler: Any, factor: float) -> list[Any]:
    trial = copy.copy(scheduler)
    groups: list[dict[str, Any]] = [{**group, "params": []} for group in scheduler.optimizer.param_groups]
    for group in groups:
        group["lr"] = group["lr"] * factor
    trial.optimizer = SimpleNamespace(param_groups=groups)
    trial.last_epoch += 1
    _rescale_schedules(trial.optimizer, [trial], [factor] * len(groups))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # get_lr() warns outside of step()
        return list(trial.get_lr())
