"""The learning rates of updates, and those that schedulers would have set without a change."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from trainbus import LoopError
from trainbus.metrics.scalars import LazyMetrics, fetch_together

from ..wrappers import inner_optimizers, shares_groups, unwrapped_scheduler
from .learning_rates import GroupLearningRate, named_rates
from .schedules import ParallelSchedules, ScheduleWatch


class RateTracker:
    """Stores learning rates when optimizers make updates.

    Args:
        optimizers: The optimizers by name; they may be replaced in this mapping.
        schedulers: The schedulers by name; the same.
    """

    def __init__(self, optimizers: Mapping[str, Any], schedulers: Mapping[str, Any]) -> None:
        self._optimizers, self._schedulers = optimizers, schedulers
        self._hold: RateHold | None = None
        self._reference: weakref.ref[RateHold] | None = None
        self._followed = weakref.WeakSet[ParallelSchedules]()
        self._watch = ScheduleWatch(optimizers, self.schedulers)

    def schedulers(self) -> dict[str, Any]:
        """Return the schedulers by name, without wrappers such as Accelerate's."""
        return {name: unwrapped_scheduler(each) for name, each in self._schedulers.items()}

    def hold(self) -> RateHold:
        """Return the rates of the next updates; those of followed schedules are stored at the same time."""
        self._watch.begin()
        self._drop()
        self._hold = hold = RateHold(self._optimizers, self._advance)
        self._reference = weakref.ref(hold, _forget)
        HOLDS.append(self._reference)
        self._advance()  # for optimizers without hooks
        return hold

    def release(self) -> None:
        """Stop replacing the rates that were returned last; report a scheduler that was replaced in this epoch."""
        if self._hold is not None:
            self._drop()
            self._watch.check()

    def _drop(self) -> None:
        _forget(self._reference)
        self._hold = self._reference = None

    def follow(self, rates: Mapping[str, float] | None = None) -> Callable[[], Mapping[str, float] | None]:
        """Return a function that returns the rates that the schedulers would have set without a change from now on.

        They are those of the last update at which rates were noted; None if a scheduler cannot be followed.

        Args:
            rates: The rates that they would have given by now; None for the present ones.
        """
        given = rates or {}
        present = {name: rate.value for name, rate in named_rates(self._optimizers).items() if name in given}
        factors = {name: given[name] / rate for name, rate in present.items() if rate}
        places = {name: (id(rate.optimizer), rate.group) for name, rate in named_rates(self._optimizers).items()}
        names = {id(each): name for name, each in self._optimizers.items()}
        parallel = ParallelSchedules(self._optimizers, self.schedulers().values())
        self._followed.add(parallel)

        def scheduled() -> Mapping[str, float] | None:
            if not parallel.known or not {id(each) for each in self._optimizers.values()} >= names.keys():
                return None  # an optimizer was replaced
            return {
                name: parallel.rate(names[optimizer], group) * factors.get(name, 1.0)
                for name, (optimizer, group) in places.items()
                if not rates or name in factors
            }

        return scheduled

    def _advance(self) -> None:
        for each in self._followed:
            each.advance()


class RateHold(LazyMetrics):
    """Name to the learning rate of an optimizer's next update; until the update, the current rate.

    Tensors stay on their device. While it is among ``HOLDS``, an optimizer that it does not know must not train the
    parameters of those that it knows.

    Args:
        optimizers: The optimizers by name; they may be replaced in this mapping.
        on_update: Called at the first update of each optimizer.
    """

    def __init__(self, optimizers: Mapping[str, Any], on_update: Callable[[], object]) -> None:
        self._optimizers = optimizers
        self._on_update = on_update
        self._rates = named_rates(optimizers)
        self._values = {name: _copied(rate) for name, rate in self._rates.items()}
        self.done: set[int] = set()
        """The ``id`` of each optimizer whose rates are no longer stored."""

    def before_update(self, optimizer: Any) -> None:
        """Store the rates of an optimizer that is about to make an update.

        Raises:
            LoopError: It trains the parameters of an optimizer that the subject holds in its place.
        """
        _check_known(optimizer, self._optimizers)
        own = {name: rate for name, rate in self._rates.items() if rate.optimizer is optimizer}
        if own and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            return  # a copy of a tensor would break the capture
        self.done.add(id(optimizer))
        if own:
            self._values |= {name: _copied(rate) for name, rate in own.items()}
            self._on_update()

    def on_device(self) -> dict[str, Any]:
        """Return the rates without waiting, each on its device."""
        return dict(self._values)

    def __getitem__(self, name: str) -> float:
        return float(fetch_together({name: self._values[name]})[name])

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _copied(rate: GroupLearningRate) -> Any:
    return rate.stored.detach().clone() if isinstance(rate.stored, torch.Tensor) else rate.stored


HOLDS: list[weakref.ref[RateHold]] = []
"""The ``RateHold`` objects to which optimizers report their updates."""


def _forget(reference: weakref.ref[RateHold] | None) -> None:
    HOLDS[:] = [each for each in HOLDS if each is not reference]  # two references are equal if their values are


def _report(optimizer: Any, _: Any, __: Any) -> None:
    for each in HOLDS:
        hold = each()
        if hold is not None and id(optimizer) not in hold.done:  # this is all that most updates cost
            hold.before_update(optimizer)


# once and for all: an optimizer that calls its hooks while another thread changes them would raise an error
register_optimizer_step_pre_hook(_report)


def _check_known(optimizer: Any, known: Mapping[str, Any]) -> None:
    if any(each is optimizer for each in known.values()):
        return
    mine = _parameters([optimizer])
    for name, each in known.items():
        inside = shares_groups(optimizer, each) or any(inner is optimizer for inner in inner_optimizers(each))
        if not inside and mine & _parameters([each]):
            raise LoopError(
                f"{type(optimizer).__name__} is about to train parameters of the subject's optimizer {name!r} "
                f"({type(each).__name__}), which checkpoints hold and ReduceLROnPlateau cuts; if it replaces that one, "
                "call run.subject.replace(optimizer) first; if both train, list both: TorchSubject(model, [...])"
            )


def _parameters(optimizers: Iterable[Any]) -> set[int]:
    return {id(each) for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]}
