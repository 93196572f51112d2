"""The changes of learning rates that a run has made, and whether something else undoes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite, log, prod
from typing import NamedTuple

from ...capabilities import TracksLearningRate, has
from ...errors import SettingsError
from ...metrics.scalars import fetch_together
from ...resume.state import RateChange
from ..run_state import RunState

CHECKS = 2
"""Number of epochs after which a change counts as acting; one is not enough, as a scheduler may step after the first
update. After that, only a jump back counts as undone, since the script may raise the rate step by step.
"""
NEGLIGIBLE = 1e-6
"""Rates below this part of the rate at the change are not compared: a schedule that ends at 0 is inexact there."""


class Change(NamedTuple):
    """A change of learning rates that a decision made."""

    by: str
    """The plugin that asked for it."""
    epoch: int
    """The epoch in which it was made."""
    begin: int
    """The first epoch whose first update uses the new rates."""
    before: Mapping[str, float]
    after: Mapping[str, float]
    unchanged: Callable[[], Mapping[str, float] | None]
    """Returns the rates that the schedules would have set by now without any change; None if this is unknown."""
    open: set[str]
    """The rates of which it is still checked that the change acts."""
    ratios: dict[str, float]
    """The rates of the last epoch, divided by those without the change."""

    def factor(self, name: str) -> float:
        """Return what a rate was multiplied by; 1.0 if it was set from 0 or from so little that there is no factor."""
        before = self.before.get(name)
        factor = self.after[name] / before if before and name in self.after else 1.0
        return factor if isfinite(factor) else 1.0


class RateChanges:
    """Checks whether changes of learning rates act, and reports those that something else has undone.

    Args:
        state: The plain data of the run.
        record: Records that something has undone a change: ``Failures.record``.
        report: Logs a line.
    """

    def __init__(
        self, state: RunState, record: Callable[[str, Exception, str], None], report: Callable[[str], object]
    ) -> None:
        self._state, self._record, self._report_line = state, record, report
        self._changes: list[Change] = []
        self._noted: tuple[int, Mapping[str, float]] = -1, {}
        """The last epoch that was checked, and its rates."""
        self.undone: set[str] = set()
        """The rates of which it was reported that a change was undone, until a change acts again."""

    def add(self, change: Change) -> None:
        """Check this change from now on."""
        self._changes.append(change)

    def supersede(self, names: Collection[str]) -> None:
        """Check no earlier change of these rates any more, since they are set anew."""
        for change in self._changes:
            change.open.difference_update(names)

    def check(self, rates: Mapping[str, float]) -> None:
        """Report a change that has no effect on the rates of the epoch's first weight update."""
        epoch = self._state.epoch
        made = [each for each in self._changes if each.begin <= epoch]
        rates = fetch_together(rates) if made else {}
        self._noted = epoch, rates
        for number in reversed(range(len(made))):
            change = made[number]
            unchanged = change.unchanged() or {}
            for name in sorted(change.open & rates.keys() & unchanged.keys()):
                base = unchanged[name] * prod(each.factor(name) for each in made[number + 1 :])
                if self._is_undone(change, name, rates[name], base):
                    self._record_undone(change, name, rates[name], base * change.factor(name))
                elif name in self.undone and epoch >= change.begin + CHECKS - 1:
                    self.undone.discard(name)
                    self._report_line(
                        f"{name} was changed from {change.before[name]:.6g} to {change.after[name]:.6g} in "
                        f"{self._state.plan.interval(change.epoch)}, and this acts; later changes are announced again"
                    )
        self._changes = self._unsettled()

    def _is_undone(self, change: Change, name: str, rate: float, base: float) -> bool:
        """Return whether a rate is nearer to what it would be without the change."""
        factor, before = change.factor(name), change.before[name]
        if max(rate, base) < NEGLIGIBLE * before:
            return False
        last = change.ratios.get(name, factor)
        if base:
            change.ratios[name] = rate / base
        if not _is_nearer(rate, base, base * factor):
            return False
        if self._state.epoch < change.begin + CHECKS or not (base and factor and last):
            return True
        return _is_nearer(rate / base / last, 1 / factor, 1.0)

    def _record_undone(self, change: Change, name: str, rate: float, due: float) -> None:
        if name not in self.undone:
            self.undone.add(name)
            self._report(change, name, rate, due)
        for each in self._changes:
            if each.begin <= self._state.epoch:
                each.open.discard(name)

    def _unsettled(self) -> list[Change]:
        """Return the changes that are still checked: the recent ones, and the last one of each rate."""
        kept, later = list[Change](), set[str]()
        for change in reversed(self._changes):
            if self._state.epoch >= change.begin + CHECKS - 1:
                change.open.difference_update(later)
            later |= change.after.keys()
            if change.open:
                kept.append(change)
        return kept[::-1]

    # --- across a resume

    def pending(self, *, had_update: bool) -> list[RateChange]:
        """Return the changes that are yet to be checked, for a checkpoint.

        Args:
            had_update: Whether the present epoch has had an update, whose rates ``state`` has.
        """
        state = self._state
        epoch, noted = self._noted
        if had_update:
            epoch, noted = state.epoch, fetch_together(state.learning_rates)
        found: list[RateChange] = []
        for number, change in enumerate(self._changes):
            unchanged = change.unchanged()
            if unchanged is None or not change.open:
                continue
            later = [each for each in self._changes[number + 1 :] if each.begin > epoch]
            base = noted if epoch >= change.begin else {**change.before, **change.after}
            base = {name: rate * prod(each.factor(name) for each in later) for name, rate in base.items()}
            found.append(
                RateChange(
                    by=change.by,
                    epoch=change.epoch,
                    begin=change.begin,
                    before=dict(change.before),
                    after={name: change.after[name] for name in sorted(change.open)},
                    unchanged=dict(unchanged),
                    noted=base,
                )
            )
        return found

    def resume(
        self, changes: Sequence[RateChange], undone: Iterable[str], present: Mapping[str, float], *, mid_epoch: bool
    ) -> None:
        """Continue to check changes that were made before the run was interrupted.

        Args:
            changes: What ``pending`` returned; the subject has the rates of that time.
            undone: The rates of which the run had reported that a change was undone.
            present: The rates that the subject has now.
            mid_epoch: Whether the interrupted epoch had an update, whose rates are restored.
        """
        subject, epoch = self._state.subject, self._state.epoch
        self.undone.update(undone)
        for change in changes:
            now = {
                name: rate * present[name] / change.noted[name]
                for name, rate in change.unchanged.items()
                if present.get(name) and change.noted.get(name)
            }
            follow: Callable[[], Mapping[str, float] | None] = partial(dict[str, float], now)
            if now and has(subject, TracksLearningRate):
                follow = subject.follow_schedules(epoch, now)
            unchanged = partial(self._unchanged, change.unchanged if mid_epoch else None, epoch, follow)
            self._changes.append(
                Change(
                    change.by, change.epoch, change.begin, change.before, change.after, unchanged, {*change.after}, {}
                )
            )
        for number, (change, made) in enumerate(zip(changes, self._changes, strict=True)):
            for name in made.open & change.noted.keys() & change.unchanged.keys():
                base = change.unchanged[name] * prod(each.factor(name) for each in self._changes[number + 1 :])
                if base:
                    made.ratios[name] = change.noted[name] / base

    def _unchanged(
        self, restored: Mapping[str, float] | None, epoch: int, follow: Callable[[], Mapping[str, float] | None]
    ) -> Mapping[str, float] | None:
        """Return the rates without a change; in an interrupted epoch, whose rates are restored, those as well."""
        return follow() if restored is None or self._state.epoch != epoch else restored

    def _report(self, change: Change, name: str, rate: float, due: float) -> None:
        subject, interval = self._state.subject, self._state.plan.interval
        why = "something outside of the run sets it"
        if has(subject, TracksLearningRate):
            why = subject.what_changes(name)
        error = SettingsError(
            f"{name} was changed from {change.before[name]:.6g} to {change.after[name]:.6g} in "
            f"{interval(change.epoch)}, but {interval(self._state.epoch)} began with {rate:.6g}, not {due:.6g}: {why}"
        )
        self._record(change.by, error, "a change of the learning rate was undone")


def _is_nearer(rate: float, one: float, other: float) -> bool:
    """Return whether the rate is nearer to one than to the other, as a factor.

    >>> _is_nearer(0.09, 0.1, 0.01), _is_nearer(0.0, 0.1, 0.0), _is_nearer(0.1, 0.1, 0.0)
    (True, False, True)
    """
    if min(rate, one, other) <= 0:
        return abs(rate - one) < abs(rate - other)
    return abs(log(rate) - log(one)) < abs(log(rate) - log(other))  # a quotient may be too small for a float
