"""Restore a run from a checkpoint, and let its loops continue where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, Protocol, TypeVar

from ..checkpoints import Checkpoint
from ..checkpoints.newest_link import followed
from ..checkpoints.snapshots import SnapshotStore
from ..decision import NOTHING, Action, Decision, Save, Stop
from ..errors import UnreadableCheckpoint
from ..failures import LOG, Failures
from ..resume.resumption import Resumption
from ..resume.rng_state import get_rng_state
from ..resume.script.given_state import GivenState
from ..resume.state import CheckpointState, Position, RankState
from ..storage.atomic_file import reading
from ..storage.paths import AUTO, Location, Source, location
from ..storage.remote_cache import downloads_kept
from .execution_result import ExecutionResult
from .finished_run import FinishedRun, StepBinder
from .plan import StepPlan
from .run_state import RunState

T = TypeVar("T")
P = ParamSpec("P")


class Locate(Protocol):
    """Finds the checkpoint to resume from: ``trainbus.resume.locate.locate`` for given callbacks."""

    def __call__(self, source: Source, *, without: Collection[Location]) -> Checkpoint | None:
        """Return the checkpoint, which is not in ``without``; None if there is none."""
        ...


class LoopRecorder(Protocol):
    """The part of ``StateCollector`` that resuming uses: the state of loops over batches in a checkpoint."""

    epoch_rng: Any
    loop_rng: Any
    loop_loader: Any

    def start_loop(self, number: int, loader: Iterable[Any]) -> None:
        """Store the loader of a loop over the batches of the epoch."""
        ...

    def enter_loop(self, loader: Iterable[Any]) -> None:
        """Store the state in which a loop begins."""
        ...

    def holding(self, stored: CheckpointState) -> AbstractContextManager[None]:
        """Let checkpoints store this state in place of the present one."""
        ...


class Resumer:
    """Restores a run from its checkpoint, if it has one, and lets its loops continue.

    Args:
        source: The checkpoint to resume from, a directory, "auto", or a given state; None to start from the beginning.
        locate: Finds the checkpoint.
        resumption: Makes the resumption from a checkpoint.
        state: The plain data of the run.
        snapshots: The snapshots in memory.
        loops: Stores the state of loops over batches, and the one with which the last decision is finished.
        failures: Records what observers raise.
        bind: Binds the steps that ranks share.
        execute: Executes the remaining actions of the decision that saved the checkpoint.
        finished: How the run had ended, if it had.
        strict: Whether the callbacks must be those of the checkpoint.
    """

    def __init__(
        self,
        source: Source | GivenState | None,
        locate: Locate,
        resumption: Callable[[Checkpoint, Mapping[str, object] | None], Resumption],
        state: RunState,
        snapshots: SnapshotStore,
        loops: LoopRecorder,
        failures: Failures,
        bind: StepBinder,
        execute: Callable[[Decision, Callable[[ExecutionResult], object]], ExecutionResult],
        finished: FinishedRun,
        *,
        strict: bool = False,
    ) -> None:
        self.source, self._locate, self._resumption_from, self._strict = source, locate, resumption, strict
        self._state = state
        self._snapshots = snapshots
        self._loops = loops
        self._failures = failures
        self._bind = bind
        self._execute = execute
        self._finished = finished
        self._report = bind("report", LOG.warning)
        self._resumption: Resumption | None = None
        self._end_decision = ExecutionResult()
        """The result of the decision of the run's end, if that decision saved the checkpoint."""
        self._ignored_stops: list[Stop] = []
        """The stops of a finished run that continues to train, because the user named its file."""

    # --- what an adapter calls

    def first_epoch(self, initial_epoch: int = 0) -> int:
        """Return the epoch to begin with, counted from 0, for a loop that would begin with ``initial_epoch``.

        In a loop by steps, it is the interval to begin with.

        Args:
            initial_epoch: The epoch with which the loop begins without a resume.
        """
        state, end = self._state, self._finished.record
        plan, by_epochs = state.plan, state.plan.unit == "epoch"
        done = 0 if self._resumption is None else self._resumption.position.epochs
        if end is not None and (state.decided_to_stop or plan.is_done(end.epochs, end.step)):
            if self._resumption is not None:
                self._resumption.mid_epoch = False  # that epoch has ended
            self._finished.restore(state)
            done = end.epochs
        what = "epochs" if by_epochs else "steps"
        if self._resumption is None and end is None:
            if (state.origin.epoch or state.origin.step) and plan.is_done(state.origin.epoch, state.origin.step):
                self._report("start: %s; raise the number of %s", plan.all_done(), what)
            return max(initial_epoch, state.origin.epoch)
        stopped = state.decided_to_stop and not self.mid_epoch  # the epoch in which it was stopped is ended first
        unfinished = self.mid_epoch and not by_epochs  # the last step is done, and its interval is ended first
        state.stays_over = stopped or (plan.is_done(done, state.step) and not unfinished)
        state.end_is_missing = state.stays_over and end is None and not self._names_file
        if state.stays_over and not state.decided_to_stop:
            over = "%s: %s; to continue training, raise the number of %s"
            self._report(over, self._origin, plan.all_done(), what)
        elif end is not None and not state.stays_over:
            first, last = (done + 1, end.epochs) if by_epochs else (state.step + 1, end.step)
            if first <= last:
                again = "%s: %s %d to %d are trained again: nothing newer was saved"
                self._report(again, self._origin, what, first, last)
        return max(initial_epoch, done)

    def go_on(self) -> None:
        """Let a finished run continue to train from its checkpoint."""
        self._finished.record = None

    @property
    def batches_to_skip(self) -> int:
        """Batches of the current epoch that were trained on before the run was interrupted.

        An adapter skips this many without training, then calls ``batches_skipped``.
        """
        if self._resumption is None or not self.mid_epoch:
            return 0
        return self._resumption.loaders.first_batch(batches=self._state.planned_batches)

    def batches_skipped(self) -> None:
        """Report that the batches were skipped: generators and subject are restored to their state after them."""
        if self._resumption is not None:
            self._resumption.reach(self._state.subject)

    # --- what a run calls

    @property
    def mid_epoch(self) -> bool:
        """Whether the run was interrupted in the middle of an epoch, and has not reached that point again."""
        return self._resumption is not None and self._resumption.mid_epoch

    @property
    def has_trained(self) -> bool:
        """Whether the run continues one that has trained."""
        return self._resumption is not None and bool(self._resumption.position.epochs or self._resumption.mid_epoch)

    @property
    def saved(self) -> CheckpointState:
        """The state in the checkpoint from which the run continues; without one, that of a run that has not begun."""
        if self._resumption is None:
            return CheckpointState(position=Position(epochs=0), rank_state=RankState())
        return self._resumption.state

    @property
    def had_update(self) -> bool:
        """Whether an epoch is continued that had an update."""
        return self.mid_epoch and self._resumption is not None and bool(self._resumption.state.first_learning_rates)

    def restore(self) -> None:
        """Load the newest checkpoint that can be read, if there is one; find out whether the run was finished.

        Raises:
            SettingsError: There is nothing to resume from, or the callbacks differ and ``strict`` forbids it.
            CheckpointError: The checkpoint is damaged or belongs to another subject.
        """
        if isinstance(self.source, GivenState):
            self._bind("restore_given", self._load)(self.source.checkpoint, self.source.snapshots)
        elif self.source is not None:
            self._restore_newest(self.source)
            if self._names_file:  # then a finished run continues to train
                self._ignored_stops, self._state.stop_actions[:] = list(self._state.stop_actions), []
            else:
                run = None if self._resumption is None else self._resumption.state.run
                self._finished.find(self.source, run, self._state)

    @property
    def end_is_recorded(self) -> bool:
        """Whether the record of the run's end exists already."""
        return self._finished.record is not None

    @property
    def _names_file(self) -> bool:
        """Whether the user has named the file to resume from."""
        return (
            self._resumption is not None
            and not isinstance(self.source, GivenState)
            and followed(location(self.source or "")) == self._resumption.checkpoint.path
        )

    @property
    def _origin(self) -> str:
        """The beginning of a line in the log; the line of ``verbose`` says already that the run was resumed."""
        return f"resume={self.source!r}" if self._resumption is None else str(self._resumption.checkpoint.path)

    def _restore_newest(self, source: Source) -> None:
        damaged: set[Location] = set()
        find, load = self._bind("find_checkpoint", self._find), self._bind("load_checkpoint", self._load)
        with downloads_kept():
            while (checkpoint := find(damaged)) is not None:
                try:
                    load(checkpoint)
                except UnreadableCheckpoint as error:
                    if followed(location(source)) == checkpoint.path:
                        raise
                    damaged.add(checkpoint.path)
                    self._report("skipped: %s: %s", checkpoint.path, error)
                else:
                    return

    def _find(self, damaged: Collection[Location]) -> Checkpoint | None:
        source = AUTO if self.source is None or isinstance(self.source, GivenState) else self.source
        return self._locate(source, without=damaged)

    def _load(self, checkpoint: Checkpoint, given: Mapping[str, object] | None = None) -> None:
        with reading(checkpoint.path, "has a state that cannot be read"):
            resumption = self._resumption_from(checkpoint, given)
            resumption.check(self._state.subject)
        if self._strict:
            resumption.refuse_differences()
        resumption.restore_subject(self._state.subject, self._snapshots)
        resumption.report_differences()
        resumption.restore_run(self._state)
        if resumption.state.validate_every is not None:  # what is said before the loop begins counts steps
            self._state.plan = StepPlan(None, resumption.state.validate_every)
        self._resumption = resumption

    def finish_last_decision(self, record: Callable[[ExecutionResult], object]) -> ExecutionResult:
        """Restore the plugins, and execute the remaining actions of the decision that saved the checkpoint.

        Args:
            record: Called with what became of files that the resumed run has written before this.

        Returns:
            The result of the complete decision; empty if the run was not resumed, or if it had ended, see
            ``end_decision``.
        """
        resumption, state = self._resumption, self._state
        if resumption is None:
            return ExecutionResult()
        self._bind("restore_plugins", resumption.restore_plugins)(state.subject, self._failures)
        if resumption.mid_epoch:
            state.epochs_started += 1
        left = self._bind("remaining_actions", lambda: ExecutionResult(*resumption.last_decision.remaining()))()
        with self._loops.holding(resumption.stored):
            result, decision = self._execute(left.done, record), resumption.last_decision.decision()
        done = Decision(decision.actions - (left.done.actions - result.done.actions))
        if self._names_file:
            self._ignored_stops += [each for each in done if isinstance(each, Stop)]
            done = Decision(frozenset(each for each in done if not isinstance(each, Stop)))
        result = ExecutionResult(done, (*left.committed, *result.committed), result.failed)
        if resumption.state.at_end:
            self._end_decision, result = result, ExecutionResult()
        return result

    def without_earlier(self, decision: Decision) -> Decision:
        """Return a decision without the actions of the resumed run; those of its last decision are finished later."""
        last = NOTHING if self._resumption is None else self._resumption.last_decision.decision()
        return Decision(decision.actions.difference(last, *(each for _, each in self._state.decision_log)))

    @property
    def saved_at_end(self) -> frozenset[Action]:
        """The saves in that result."""
        return frozenset(each for each in self._end_decision.done if isinstance(each, Save))

    def end_decision(self) -> ExecutionResult:
        """Return, once, the result of the decision at the run's end if the run was resumed from one of its files."""
        result, self._end_decision = self._end_decision, ExecutionResult()
        return result

    def finish(self) -> None:
        """Log that the run had stopped, if it had; restore the generators unless an epoch is continued."""
        resumption, state = self._resumption, self._state
        if self._ignored_stops:
            reason = "; ".join(dict.fromkeys(each.reason for each in self._ignored_stops))
            self._report("%s: this run had stopped: %s; it trains on, since its file is named", self._origin, reason)
        if state.decided_to_stop and (resumption is not None or self.end_is_recorded):
            self._report(
                "%s: this run had stopped: %s; it stays stopped. To continue training, change the settings of the "
                "callback that stopped it, call go_on() of the run, or resume from the path of a file",
                self._origin,
                state.reason,
            )
        if resumption is not None and not resumption.mid_epoch:
            resumption.restore_rng(state.subject)

    def reenter_epoch(self) -> None:
        """Continue the interrupted epoch: restore its metrics and states, and the generators from its beginning."""
        resumption = self._resumption
        assert resumption is not None
        resumption.restore_plugins(self._state.subject, self._failures)
        resumption.restore_epoch_rng(self._state.subject)
        resumption.restore_epoch(self._state)
        loops, loop_rng = self._loops, resumption.loop_rng
        loops.epoch_rng = get_rng_state(self._state.subject)  # also of generators that the checkpoint does not hold
        loops.loop_rng = None if loop_rng is None else {**loops.epoch_rng, **loop_rng}
        if not resumption.position.in_loop:
            resumption.reach(self._state.subject)

    def begin_loop(self, loader: Iterable[T]) -> tuple[Iterable[T], int]:
        """Begin a loop over batches; return what to iterate over, and the number of its first batch in the epoch."""
        state, loops, resumption = self._state, self._loops, self._resumption
        number = state.loops
        state.loops += 1
        loops.start_loop(number, loader)
        if resumption is not None and resumption.mid_epoch:
            interrupted, first = number == resumption.position.loops, 0
            if interrupted:
                first = resumption.loaders.first_batch(loader, state.planned_batches)
            state.counters.trained_batches = first
            loops.loop_loader = resumption.loop_loader
            # a request to end is no decision at that point: the run ends after the next batch, and the epoch stays open
            stopped, reach = state.decided_to_stop, resumption.reach
            left = resumption.loaders.remaining_batches(number, loader, first, state.subject, reach, stopped=stopped)
            return left, first
        batches = loader if resumption is None else resumption.loaders.restore(number, loader, state.subject)
        state.counters.trained_batches = 0
        loops.enter_loop(loader)
        return batches, 0
