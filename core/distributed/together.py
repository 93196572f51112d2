"""How a run carries out what is decided: alone, or as one of several processes that decide as one."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from ..decision import NOTHING, Decision, Forget, Restore, Save, Stop, decision_from_json, decision_to_json
from ..engine.dispatch import CompiledHook
from ..engine.executor import ExecutionResult
from ..errors import SettingsError
from ..metrics.running_means import RunningMeans
from ..resume.state import RankState, collect_rank_state
from ..storage.backend import backend_for
from ..storage.paths import Location, location
from .meetings import BATCHES, Meetings
from .outcomes import outcome_from_plain, outcome_to_plain
from .rendezvous import Point

__all__ = ["Together"]

MEASURED = frozenset({"on_batch_end", "on_validation_end"})
"""Hooks that need a meeting of their own for the metrics; at the end of an epoch there is one in any case."""
UNDECIDED = frozenset({"on_decision", "on_checkpoint", "on_checkpoint_error", "on_exception", "on_train_end"})
"""Hooks at which nothing is decided, or only at the very end."""


class Together(Meetings):
    """A run that may be trained by several processes, its ranks.

    Every rank tells every plugin that decides the same events with the same metrics. What rank 0's decide is sent to
    all, and all carry it out at once; rank 0 alone writes files, and has plugins that only observe. Whatever fails on
    one rank is raised on all. Where there is one process nothing of this happens.
    """

    _held: Exception | None = None
    """What this rank has failed by, and tells when the ranks meet next."""
    _repeats = False
    """Whether hooks are told what they were told before the run was interrupted."""

    # --- the same events everywhere

    def _through(self, name: str, hook: CompiledHook) -> CompiledHook:
        """A hook as all ranks tell it; where nobody decides, no rank waits for another."""
        if name in UNDECIDED:
            return hook
        return partial(self._decide if self._bus.decides(name) else self._observe, name, hook)

    def _observe(self, name: str, hook: CompiledHook, run: object, *values: Any) -> None:
        if (answers := hook(run, *values)) is not None and not self._repeats:
            self._proposed |= self._bus.decision(name, answers)

    def _decide(self, name: str, hook: CompiledHook, run: object, *values: Any) -> None:
        if self._repeats:
            hook(run, *values)
            return
        if name in BATCHES and self._uneven:
            return
        if name in MEASURED:
            means = self._measured(cast("Point", name))
            if means is None:
                return
            values = (*values[:-1], _shown(name, values[-1], self.means, means))
        decision, error, self._held = NOTHING, self._held, None
        try:
            if error is not None:
                raise error
            decision = self._bus.decision(name, hook(run, *values) or ())
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        point = "answer" if name in MEASURED or name == "on_epoch_end" else cast("Point", name)
        met = self._meet(point, value=decision_to_json(decision), error=error)
        if met is not None:
            self._carry_out(decision_from_json(met.value) | self._take_heeded())

    def _watch_for_all(self) -> None:
        """Let watched metrics see the epoch that is over; what they miss is raised on every rank."""
        try:
            self._watch()
        except SettingsError as error:
            if self._agreement is None or not self._bus.decides("on_epoch_end"):
                raise
            self._held = error

    def _repeat(self, hook: CompiledHook, *values: Any) -> None:
        """Tell what was told before the run was interrupted; what was decided then is done."""
        self._repeats = True
        try:
            hook(self, *values)
        finally:
            self._repeats = False

    # --- what is decided

    def _propose(self, decision: Decision) -> None:
        """Carry out what the loop itself decides; where there are several ranks, when they meet next."""
        if self._departure is None:
            self._carry_out(decision)
            return
        self._proposed |= decision
        for action in decision:
            if isinstance(action, Stop):
                self._departure.ask({"stop": action.reason})
                self.stops.append(action)

    def _carry_out(self, decision: Decision) -> None:
        """Carry out what is decided, on every rank, and tell what became of it."""
        self._tell_of(self._done(decision))

    def _done(self, decision: Decision) -> ExecutionResult:
        if self._agreement is None:
            return self._bus.carry_out(decision, self)
        outcome, error, actions = ExecutionResult(decision, [], []), None, decision.actions
        if all(isinstance(action, Stop) for action in actions):
            return outcome
        if any(isinstance(action, Save) for action in actions) and self._bus.sharing() is None:
            plain = self._agreement.gather(collect_rank_state(self).compressed().model_dump())
            shares = [RankState.model_validate(share) for share in plain]
            self.shares = [share.beside(shares[0]) for share in shares[1:]]
        try:
            if self.rank == 0:
                outcome = self._bus.carry_out(decision, self)
            else:
                self._bus.accompany(decision, self)
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        plain = self._agreed(outcome_to_plain(outcome), error)
        if any(isinstance(action, (Restore, Forget)) for action in actions):
            with self._sharing():
                if self.rank:
                    self._bus.follow(decision)
        return outcome if self.rank == 0 else outcome_from_plain(plain)

    def _tell_of(self, outcome: ExecutionResult) -> None:
        """Tell what became of a decision; what that makes a plugin raise is raised on every rank."""
        if self._agreement is None:
            self._tell_outcome(outcome)
            return
        if outcome.done.stops and self._departure is not None:
            self._departure.settle()
        told_of = {"on_decision": outcome.done, "on_checkpoint": outcome.committed, "on_checkpoint_error": outcome[2]}
        if any(there and self._bus.decides(hook) for hook, there in told_of.items()):
            with self._sharing():
                self._tell_outcome(outcome)
        else:
            self._tell_outcome(outcome)

    def _tell_outcome(self, outcome: ExecutionResult) -> None:
        done, committed, unwritten = outcome
        saved = [location(action.path) for action in done if isinstance(action, Save)]
        going = [location(action.source) for action in done if isinstance(action, Forget)]
        before = [path for path in self._going if unwritten and self._is_there(path)]
        self._files = {**dict.fromkeys(before), **self._files}  # what was to go for those that were not written
        self._going = [path for path in going if path in self._files] if saved or going else self._going
        for path in (*saved, *going):
            self._files.pop(path, None)
        self._files |= dict.fromkeys(saved)  # at the end, also those that were there before
        for checkpoint in committed:
            self.checkpoints.append(checkpoint)
            if self._bus.on_checkpoint is not None:
                self._bus.on_checkpoint(self, checkpoint)
        for path, step, error in unwritten:
            if not self._is_there(path):
                self._files.pop(path, None)
            if self._bus.on_checkpoint_error is not None:
                self._bus.on_checkpoint_error(self, path, step, error)
        self.stops += [action for action in done if isinstance(action, Stop) and action not in self.stops]
        if done:
            self._tell_decision(done)

    def _is_there(self, path: Location) -> bool:
        """Whether there is something that was to be replaced; where that cannot be told, whether this run wrote one."""
        try:
            return backend_for(path).size() is not None or backend_for(path).is_directory()
        except OSError:
            return any(each.path == path for each in self.checkpoints)

    def _carry_out_heeded(self) -> None:
        """Carry out what loops have decided, where no plugin's decision has taken it along."""
        if self._heeded:
            self._carry_out(self._take_heeded())


def _shown(name: str, given: Any, own: RunningMeans, all_ranks: RunningMeans) -> Any:
    """The metrics of all ranks, in the place of this one's."""
    if name == "on_validation_end":
        return {**given, **{metric: all_ranks[metric] for metric in all_ranks if metric.startswith("val_")}}
    return all_ranks if given is own else given
