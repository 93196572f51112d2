"""The learning rates of updates, and those that Keras's LearningRateScheduler would have set without a change."""

# Keras declares no types
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from .learning_rates import as_number, optimizers_of, rates_of


class RateTracker:
    """Stores the learning rates of a model when it makes an update, and whether its optimizer makes any.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._held: dict[str, float] = {}
        self._counters: dict[str, float] | None = None
        self._used = False
        self.unused = False
        """Whether only other optimizers than the compiled one have made updates so far."""
        self.epoch = 0
        """The current epoch, counted from 0."""
        self.callbacks: Callable[[], Sequence[Any]] = lambda: ()
        """Returns the Keras callbacks of the current ``fit``."""

    def hold(self) -> Mapping[str, float]:
        """Return the current rates; the next ``before_update`` replaces them by those of its update."""
        self._held = {} if self.unused else rates_of(self._model)
        return self._held

    def release(self) -> None:
        """Stop replacing the rates that were returned last."""
        self._held = {}

    def before_update(self, optimizer_values: Iterable[Any] = ()) -> None:
        """Store the rates of the next update.

        Args:
            optimizer_values: The values of the optimizer's variables, if the variables do not hold them, as while JAX
                trains.
        """
        optimizer = getattr(self._model, "optimizer", None)
        pairs = list(zip(optimizer.variables, optimizer_values, strict=False)) if optimizer is not None else []
        if not self.unused:
            with keras.StatelessScope(state_mapping=pairs):
                self._held.update(rates_of(self._model))

    def follow(self, epoch: int, rates: Mapping[str, float] | None = None) -> Callable[[], Mapping[str, float] | None]:
        """Return a function that returns the rates that the schedulers would have set without a change from now on.

        None if a scheduler raises an error.

        Args:
            epoch: The present epoch, whose rate the schedulers have set.
            rates: The rates that they would have given by now; None for the present ones.
        """
        done, found = epoch, dict(rates or rates_of(self._model))

        def scheduled() -> Mapping[str, float] | None:
            nonlocal done, found
            try:
                while done < self.epoch:
                    for each in self._schedulers():
                        found = {name: _scheduled(each, done + 1, rate) for name, rate in found.items()}
                    done += 1
            except Exception:  # noqa: BLE001 - whatever a schedule of a user raises
                return None
            return found

        return scheduled

    def what_changes(self) -> str:
        """Describe which of the callbacks may have changed a rate."""
        names = dict.fromkeys(type(each).__name__ for each in self._schedulers())
        if names:
            return (
                f"Keras's {' and '.join(names)} sets it; let its schedule multiply the rate that it is given, or leave "
                "it out"
            )
        return "another Keras callback or train_step sets it; let it multiply the present rate instead"

    def check_updates(self) -> None:
        """Find out whether the compiled optimizer has made an update since the last call, until it has made one."""
        if self._used:
            return
        before, self._counters = self._counters, _counters(self._model)
        if before and before.keys() == self._counters.keys():
            self.unused = before == self._counters
            self._used = not self.unused

    def _schedulers(self) -> list[Any]:
        return [each for each in self.callbacks() if isinstance(each, keras.callbacks.LearningRateScheduler)]


def _scheduled(scheduler: Any, epoch: int, rate: float) -> float:
    try:
        return float(scheduler.schedule(epoch, rate))
    except TypeError:  # Keras also takes schedules of the epoch alone
        return float(scheduler.schedule(epoch))


def _counters(model: Any) -> dict[str, float]:
    """Return the variables of a model's optimizers that count updates, including skipped ones."""
    outer = getattr(model, "optimizer", None)
    counted = {id(variable): variable for each in (outer, *optimizers_of(model)) for variable in _variables(each)}
    return {
        f"{number} {variable.name}": as_number(variable)
        for number, variable in enumerate(counted.values())
        if len(variable.shape) == 0 and variable.name != "learning_rate"
    }


def _variables(optimizer: Any) -> Iterable[Any]:
    return () if optimizer is None else optimizer.variables
