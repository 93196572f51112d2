"""The rates that learning rate schedulers would set if nothing else changed a rate."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch

from .wrappers import drives


def flat(schedulers: Iterable[Any]) -> Iterator[Any]:
    """Yield schedulers and those inside a ChainedScheduler or SequentialLR."""
    for scheduler in schedulers:
        yield scheduler
        yield from flat(getattr(scheduler, "_schedulers", ()))


class ParallelSchedules:
    """Copies of schedulers that make the same steps, starting from the current rates.

    Args:
        optimizers: The optimizers by name.
        schedulers: Their schedulers.
    """

    def __init__(self, optimizers: Mapping[str, Any], schedulers: Iterable[Any]) -> None:
        self._groups = {name: _copied_groups(each) for name, each in optimizers.items()}
        self._pairs: list[tuple[Any, Any]] = []
        self.known = True
        """Whether every scheduler was copied, and each copy has made the same steps."""
        for scheduler in schedulers:
            name = next((name for name, each in optimizers.items() if drives(scheduler, each)), None)
            if name is not None:
                try:
                    self._pairs.append((scheduler, _copied(scheduler, self._groups[name])))
                except Exception:  # noqa: BLE001 - whatever a scheduler of a user raises
                    self.known = False

    def advance(self) -> None:
        """Step the copies as often as the schedulers have stepped since then."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on schedulers that step without an optimizer
                for scheduler, its_copy in self._pairs:
                    self.known = self.known and _advance(scheduler, its_copy)
        except Exception:  # noqa: BLE001 - whatever a scheduler of a user raises
            self.known = False

    def rate(self, name: str, group: int) -> float:
        """Return the rate of a group of an optimizer."""
        return float(self._groups[name][group]["lr"])


def _copied_groups(optimizer: Any) -> list[dict[str, Any]]:
    return [
        {
            key: value.clone() if isinstance(value, torch.Tensor) else value
            for key, value in group.items()
            if key != "params"
        }
        | {"params": []}
        for group in optimizer.param_groups
    ]


def _copied(scheduler: Any, groups: list[dict[str, Any]]) -> Any:
    its_copy = copy.copy(scheduler)
    its_copy.optimizer = SimpleNamespace(param_groups=groups, step=SimpleNamespace(_wrapped_by_lr_sched=True))
    its_copy.optimizer._opt_called = True  # noqa: SLF001 - else torch warns
    if hasattr(scheduler, "_schedulers"):
        its_copy._schedulers = [_copied(each, groups) for each in scheduler._schedulers]  # noqa: SLF001
    return its_copy


def _advance(scheduler: Any, its_copy: Any) -> bool:
    """Step the copy as often as the scheduler; return whether both then have the same step count."""
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        return True  # it only lowers the rate, by metrics that are not known here
    for _ in range(_steps(scheduler) - _steps(its_copy)):
        its_copy.step()
    return [_place(each) for each in flat([scheduler])] == [_place(each) for each in flat([its_copy])]


def _steps(scheduler: Any) -> int:
    """Return how often a scheduler has stepped, counted from a start of its choice."""
    if scheduler.__class__.step is torch.optim.lr_scheduler.LRScheduler.step:
        return int(scheduler._step_count)  # noqa: SLF001 - it also grows if the place is set
    if "last_epoch" in vars(scheduler):
        return int(scheduler.last_epoch)
    return _steps(scheduler._schedulers[0])  # noqa: SLF001 - of a ChainedScheduler


def _place(scheduler: Any) -> Any:
    return [getattr(scheduler, name, None) for name in ("last_epoch", "T_cur")]
