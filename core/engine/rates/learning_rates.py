"""The learning rates of a run: the rates of each epoch's first weight update, and the effect of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from ...capabilities import HasLearningRate, RoundsLearningRates, TracksLearningRate, has
from ...decision import ScaleLearningRate, SetLearningRate
from ...errors import SettingsError
from ...metrics.names import hint
from ...metrics.scalars import fetch_together
from ...resume.state import RateChange, UncutRate
from ..run_state import RunState
from .changes import Change, RateChanges
from .cuts import Cuts


class LearningRates:
    """Records the learning rates of each epoch's first weight update, changes rates, and checks the effect.

    Args:
        state: The plain data of the run; its ``learning_rates`` are those of the present epoch.
        record: Records that something has undone a change: ``Failures.record``.
        checked: The plugins for which the run has checked before the training that rates can be changed.
        report: Logs a line.
    """

    def __init__(
        self,
        state: RunState,
        record: Callable[[str, Exception, str], None],
        checked: Iterable[str] = (),
        report: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._state = state
        self._checked = frozenset(checked)
        self._record = record
        self.open = False
        """Whether the first batch of the epoch is yet to come, if the loop reports its batches."""
        self._first_step = 0
        """The weight updates of the run when the epoch began."""
        self._changes = RateChanges(state, record, report)
        self._refused: set[str] = set()
        """The plugins of which it was reported that the rates cannot be changed any more."""
        self.undone = self._changes.undone
        """The rates of which it was reported that a change was undone, until a change acts again."""
        self._cuts = Cuts()
        self._contested: set[str] = set()
        """The rates of which it was reported that something else changes them between the times that they are set."""

    # --- the rates of an epoch's first weight update

    def begin_epoch(self) -> None:
        """Store the rates of the next weight update, for a loop that reports no batches."""
        self.open, self._first_step = True, self._state.step
        self._note()

    def resume_epoch(self) -> None:
        """Keep the rates that were restored for the interrupted epoch, if it had an update."""
        if not self._state.learning_rates:
            self.begin_epoch()

    def first_batch(self) -> None:
        """Store the rates of the next weight update if this is the first batch; the loop may have changed them."""
        if self.open:
            self.open = False
            self._note()

    def end_epoch(self) -> Mapping[str, float]:
        """Return the rates of the epoch's first weight update; those on a device stay there."""
        self.open = False
        rates, self._state.learning_rates = self._state.learning_rates, {}
        if has(self._state.subject, TracksLearningRate):
            self._state.subject.release_learning_rates()
        return rates

    @property
    def _is_before_update(self) -> bool:
        state = self._state
        return state.epochs_started > state.epochs_finished and not self._had_update

    @property
    def _had_update(self) -> bool:
        """Whether the epoch has had an update, as far as is known: a loop need not report its batches."""
        state = self._state
        trained = state.validated or state.step > self._first_step or state.counters.current_trained_batches > 0
        return bool(state.learning_rates) and (trained or not self.open)

    def _note(self) -> None:
        subject = self._state.subject
        if has(subject, TracksLearningRate):
            self._state.learning_rates = subject.hold_learning_rates()
        elif has(subject, HasLearningRate):
            self._state.learning_rates = subject.learning_rates()

    # --- changes of the rates

    def report_refusal(self, actions: Iterable[ScaleLearningRate | SetLearningRate], why: str) -> bool:
        """Report once that rates can no longer be changed; return False if this was not checked before the training.

        Args:
            actions: What asks for it.
            why: Why the subject cannot do it.
        """
        by = [each.by for each in actions]
        if not self._checked.issuperset(by):
            return False
        if by[0] not in self._refused:
            self._refused.add(by[0])
            self._record(by[0], SettingsError(why), "the learning rate is not changed")
        return True

    def change(
        self, subject: HasLearningRate, actions: Iterable[ScaleLearningRate | SetLearningRate]
    ) -> set[ScaleLearningRate | SetLearningRate]:
        """Set rates, with the cuts of the run so far, then scale them; of several new rates the lowest wins.

        Returns:
            The actions that may act: without those that set rates to what they are, and none if something has undone
            the last change of each of these rates.

        Raises:
            SettingsError: The subject cannot set the rates, or has none with this name.
        """
        actions = list(actions)
        scales = [each for each in actions if isinstance(each, ScaleLearningRate)]
        before = dict(subject.learning_rates())
        _check_names(actions, before)
        asked = _asked(actions, before)
        self._report_contested(actions, asked.keys(), before)
        uncut = {**self._cuts.without(before), **asked}
        wanted = {name: self._cuts.applied(name, rate) for name, rate in asked.items()}
        after = {**before, **{name: rate for name, rate in wanted.items() if not _equal(subject, name, rate, before)}}
        acting = set(actions) if after != before else set[ScaleLearningRate | SetLearningRate](scales)
        for name, rate in after.items() if scales else ():
            lowest = min(scales, key=lambda each: each.applied_to(rate, name))
            after[name] = lowest.applied_to(rate, name)
            if after[name] != rate:
                self._cuts.note_cut(name, lowest.factor, lowest.floor_of(name))
        changed = {name: rate for name, rate in after.items() if rate != before[name]}
        unchanged: Callable[[], Mapping[str, float] | None] = lambda: before  # noqa: E731
        if changed and has(subject, TracksLearningRate):
            unchanged = subject.follow_schedules(self._state.epoch)
        subject.set_learning_rates(changed)
        self._changes.supersede(asked)  # the new rates have the earlier cuts
        if changed or asked:
            self._cuts.note_rates(dict(subject.learning_rates()), uncut, {*changed, *asked})
            self._cuts.note_set(asked, self._state.epoch)
        if changed:
            by = next((each.by for each in actions if each.by), "loop")
            epoch = self._state.epoch
            begin = epoch if self._is_before_update else epoch + 1
            self._changes.add(Change(by, epoch, begin, before, changed, unchanged, set(changed), {}))
        return acting if not changed or not changed.keys() <= self.undone else set()

    def without_cuts(self) -> Mapping[str, float]:
        """Return the present rates as they would be if the run had made no cut; none if the subject has no rates."""
        subject = self._state.subject
        if not has(subject, HasLearningRate):
            return {}
        rates = self._cuts.without(fetch_together(subject.learning_rates()))
        return subject.rounded_learning_rates(rates) if has(subject, RoundsLearningRates) else rates

    def note_restored(self) -> None:
        """Store that the subject was restored, maybe with the rates of an earlier time."""
        subject = self._state.subject
        if has(subject, HasLearningRate):
            self._cuts.note_restored(fetch_together(subject.learning_rates()))

    def _report_contested(
        self,
        actions: Iterable[ScaleLearningRate | SetLearningRate],
        names: Iterable[str],
        present: Mapping[str, float],
    ) -> None:
        """Report, once, a rate that something else has changed since the run has set it."""
        for name in names:
            known = self._cuts.changed_since_set(name, present[name])
            if known is not None and known.set_in is not None and name not in self._contested:
                self._contested.add(name)
                by = next((each.by for each in actions if isinstance(each, SetLearningRate)), "")
                then, now = map(self._state.plan.interval, (known.set_in, self._state.epoch))
                error = SettingsError(
                    f"{name} was set to {known.rate:.6g} in {then}, but something else has changed "
                    f"it to {present[name]:.6g} before {now} sets it again; let only one of "
                    f"{by or 'the loop'} and a scheduler, another callback or the loop set it"
                )
                self._record(by, error, "what else changes the learning rate has no lasting effect")

    def check(self, rates: Mapping[str, float]) -> None:
        """Report a change that has no effect on the rates of the epoch's first weight update."""
        self._changes.check(rates)

    # --- across a resume

    def pending(self) -> list[RateChange]:
        """Return the changes that are yet to be checked, for a checkpoint."""
        return self._changes.pending(had_update=self._had_update)

    def uncut(self) -> dict[str, UncutRate]:
        """Return the rates that the run has changed, with the product of the cuts of each, for a checkpoint."""
        return dict(self._cuts.rates)

    def resume(
        self,
        changes: Sequence[RateChange],
        undone: Iterable[str],
        uncut: Mapping[str, UncutRate] = MappingProxyType({}),
        *,
        mid_epoch: bool,
    ) -> None:
        """Continue with the changes that were made before the run was interrupted.

        Args:
            changes: What ``pending`` returned; the subject has the rates of that time.
            undone: The rates of which the run had reported that a change was undone.
            uncut: What ``uncut`` returned.
            mid_epoch: Whether the interrupted epoch had an update, whose rates are restored.
        """
        subject = self._state.subject
        present = fetch_together(subject.learning_rates()) if has(subject, HasLearningRate) else {}
        self._cuts.resume(uncut, present)
        self._changes.resume(changes, undone, present, mid_epoch=mid_epoch)


def _equal(subject: HasLearningRate, name: str, rate: float, present: Mapping[str, float]) -> bool:
    """Return whether the subject has this rate, in the precision in which it stores rates."""
    if not has(subject, RoundsLearningRates):
        return rate == present[name]
    return subject.rounded_learning_rates({name: rate}) == subject.rounded_learning_rates({name: present[name]})


def _check_names(actions: Iterable[ScaleLearningRate | SetLearningRate], present: Mapping[str, float]) -> None:
    """Raise a ``SettingsError`` if an action mentions a rate that the subject does not have."""
    for action in actions:
        for name in action.names:
            if name not in present:
                near = hint(name, present)
                raise SettingsError(
                    f"{action.by or 'the loop'}: {name!r} is not a learning rate{near} "
                    f"learning rates: {', '.join(present) or 'none'}"
                )


def _asked(actions: Iterable[ScaleLearningRate | SetLearningRate], present: Mapping[str, float]) -> dict[str, float]:
    """Return the rates that are to be set: the lowest that is asked for under each name."""
    asked: dict[str, float] = {}
    for action in actions:
        if not isinstance(action, SetLearningRate):
            continue
        for name in present:
            rate = action.asked_for(name)
            if rate is not None:
                asked[name] = min(rate, asked.get(name, rate))
    return asked
