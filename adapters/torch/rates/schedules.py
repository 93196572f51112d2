"""The rates that learning rate schedulers would set if nothing else changed a rate."""

from __future__ import annotations

import copy
import gc
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch

from ..wrappers import drives, inner_optimizers

LOG = logging.getLogger("trainbus")


def flat(schedulers: Iterable[Any]) -> Iterator[Any]:
    """Yield schedulers and those inside a ChainedScheduler or SequentialLR."""
    for scheduler in schedulers:
        yield scheduler
        yield from flat(getattr(scheduler, "_schedulers", ()))


def ungiven(optimizers: Iterable[Any], given: Iterable[Any]) -> list[Any]:
    """Return the schedulers of the program that drive one of the optimizers and are neither given nor held by those."""
    optimizers, known, found = list(optimizers), set[int](), list[Any]()
    _note(given, known)
    for each in gc.get_objects():
        if issubclass(type(each), torch.optim.lr_scheduler.LRScheduler) and id(each) not in known:
            found += [each] * any(drives(each, one) for one in optimizers)
    inner = set[int]()
    for each in found:
        _note([vars(cast("object", each))], inner)
    return [each for each in found if id(each) not in inner]


def _note(held: Iterable[Any], known: set[int]) -> None:
    """Add the ``id`` of schedulers, and of those that they hold."""
    for each in held:
        if isinstance(each, dict):
            _note(cast("dict[str, Any]", each).values(), known)
        elif isinstance(each, (list, tuple)):
            _note(cast("Iterable[Any]", each), known)
        elif hasattr(each, "get_last_lr") and id(each) not in known:
            known.add(id(each))
            own: dict[str, Any] = getattr(each, "__dict__", {})
            _note(own.values(), known)


class _Idle(NamedTuple):
    """The epochs in which no given scheduler of an optimizer has stepped."""

    schedulers: list[Any]
    steps: list[int]
    epochs: int
    others: WeakKeyDictionary[Any, int]
    """Step counts of other schedulers that drive the optimizer."""


class ScheduleWatch:
    """Finds schedulers that a script uses in place of those that the subject holds.

    Args:
        optimizers: The optimizers by name; they may be replaced in this mapping.
        schedulers: Returns the given schedulers by name.
    """

    def __init__(self, optimizers: Mapping[str, Any], schedulers: Callable[[], Mapping[str, Any]]) -> None:
        self._optimizers, self._schedulers = optimizers, schedulers
        self._idle: dict[str, _Idle] = {}
        self._scheduled_before: set[str] = set()
        """The optimizers that had a scheduler before the first epoch, though none was given."""
        self._begun = False
        self._reported: set[str] = set()

    def begin(self) -> None:
        """Note, once, what the script has made before its first epoch."""
        if not self._begun:
            self._begun = True
            self._scheduled_before = {
                name
                for name, each in self._optimizers.items()
                if not (given := self._given(each)) and is_scheduled(each, given)
            }

    def check(self) -> None:
        """Report, once, a scheduler that has stepped while none of the given ones of its optimizer has.

        To be called once in an epoch. The search takes long, so it is made in the 1st, 2nd, 4th, 8th ... such epoch.
        """
        for name, optimizer in self._optimizers.items():
            if name not in self._reported and name not in self._scheduled_before and was_scheduled(optimizer):
                self._check(name, optimizer)

    def _check(self, name: str, optimizer: Any) -> None:
        given = self._given(optimizer)
        steps, before = [_count(each) for each in given], self._idle.get(name)
        if (
            before is None
            or before.steps != steps
            or any(a is not b for a, b in zip(before.schedulers, given, strict=False))
        ):
            self._idle[name] = _Idle(given, steps, 0, WeakKeyDictionary())
            return
        epochs = before.epochs + 1
        self._idle[name] = before._replace(epochs=epochs)
        if epochs & (epochs - 1):
            return
        for each in ungiven([optimizer], given):
            count = _count(each)
            if count > before.others.setdefault(each, count):
                self._reported.add(name)
                if not _leads():
                    return
                old = " and ".join(type(one).__name__ for one in given)
                LOG.warning(
                    "%s, which was not given, drives the optimizer %r%s: checkpoints do not hold its state, and it may "
                    "undo a cut; call run.subject.replace(optimizer, scheduler=scheduler) when it is made",
                    type(each).__name__,
                    name,
                    f" in place of {old}" if old else "",
                )
                return

    def _given(self, optimizer: Any) -> list[Any]:
        return [each for each in self._schedulers().values() if drives(each, optimizer)]


def _leads() -> bool:
    group = torch.distributed
    return not (group.is_available() and group.is_initialized() and group.get_rank())


def is_scheduled(optimizer: Any, given: Iterable[Any]) -> bool:
    """Return whether a scheduler of torch that is not given drives the optimizer.

    Schedulers leave their mark on an optimizer, also one that was made for a while only, as to find a first rate.
    """
    if not was_scheduled(optimizer):
        return False
    given = list(given)
    if ungiven([optimizer], given):
        gc.collect()  # what the program has dropped may be left in a cycle of references
        return bool(ungiven([optimizer], given))
    return False


def was_scheduled(optimizer: Any) -> bool:
    """Return whether a scheduler of torch was ever made for the optimizer."""
    return any(hasattr(each.step, "_wrapped_by_lr_sched") for each in (optimizer, *inner_optimizers(optimizer)))


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


def _count(scheduler: Any) -> int:
    """Return how often a scheduler has stepped; 0 if it does not tell."""
    try:
        return _steps(scheduler)
    except Exception:  # noqa: BLE001 - whatever a scheduler of a user lacks
        return 0


def _place(scheduler: Any) -> Any:
    return [getattr(scheduler, name, None) for name in ("last_epoch", "T_cur")]
