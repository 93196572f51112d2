"""Restore a run from a checkpoint, and let its loops continue where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from ..callback import Callback
from ..checkpoints import Checkpoint
from ..decision import Decision
from ..failures import LOG, Failures
from ..resume.locate import locate
from ..resume.resumption import Resumption
from ..storage.paths import Location, Source
from ..storage.remote_cache import downloads_kept
from ..storage.sharded_directory import VerificationShare
from .execution_result import ExecutionResult
from .executor import Executor
from .run_state import RunState

T = TypeVar("T")


class ResumingGroup(Protocol):
    """The part of ``Group`` that resuming uses."""

    rank: int
    size: int
    leads: bool
    """Whether this process logs messages and has the remaining actions of the decision."""

    def shared(self) -> AbstractContextManager[None]:
        """Raise on all ranks an error that one rank raises inside the block."""
        ...

    def restore(
        self,
        find: Callable[[VerificationShare, Collection[Location]], Checkpoint | None],
        load: Callable[[Checkpoint], object],
        source: Source,
    ) -> None:
        """Find a checkpoint and load it on every rank; do nothing if there is none."""
        ...

    def agree(self, result: ExecutionResult) -> ExecutionResult:
        """Return rank 0's result on every rank."""
        ...

    def execute(self, decision: Decision, executor: Executor) -> ExecutionResult:
        """Execute a decision on every rank."""
        ...


class Resumer:
    """Restores a run from its checkpoint, if it has one, and lets its loops continue.

    Args:
        source: The checkpoint to resume from, a directory or "auto"; None to start from the beginning.
        strict: Whether the callbacks must be those of the checkpoint.
        state: The plain data of the run.
        plugins: Name of each plugin to the plugin.
        callbacks: Name of a plugin to the callback that made it.
        executor: Executes the remaining actions of the decision that saved the checkpoint.
        failures: Records what observers raise.
    """

    def __init__(
        self,
        source: Source | None,
        state: RunState,
        plugins: Mapping[str, object],
        callbacks: Mapping[str, Callback],
        executor: Executor,
        failures: Failures,
        *,
        strict: bool = False,
    ) -> None:
        self._source, self._strict = source, strict
        self._state = state
        self._plugins, self._callbacks = plugins, callbacks
        self._executor, self._collector = executor, executor.collector
        self._failures = failures
        self._resumption: Resumption | None = None

    # --- what an adapter calls

    def first_epoch(self, initial_epoch: int, epochs: int) -> int:
        """Return the epoch to begin with, counted from 0, for a loop that would begin with ``initial_epoch``.

        Args:
            initial_epoch: The epoch with which the loop begins without a resume.
            epochs: The number of the last epoch, counted from 1.
        """
        resumption = self._resumption
        if resumption is None:
            return initial_epoch
        done = resumption.position.epochs
        if done >= epochs and not self._state.stop_actions and resumption.leads:
            path = resumption.checkpoint.path
            LOG.warning(
                "resumed from %s: all %d epochs are done; to continue training, raise the number of epochs",
                path,
                epochs,
            )
        return max(initial_epoch, done)

    @property
    def batches_to_skip(self) -> int:
        """Batches of the current epoch that were trained on before the run was interrupted.

        An adapter skips this many without training, then calls ``batches_skipped``.
        """
        return self._resumption.position.batches if self._resumption is not None and self.mid_epoch else 0

    def batches_skipped(self) -> None:
        """Report that the batches were skipped: generators and subject are restored to their state after them."""
        if self._resumption is not None:
            self._resumption.reach(self._state.subject)

    # --- what a run calls

    @property
    def mid_epoch(self) -> bool:
        """Whether the run was interrupted in the middle of an epoch, and has not reached that point again."""
        return self._resumption is not None and self._resumption.mid_epoch

    def restore(self, group: ResumingGroup) -> None:
        """Load the checkpoint; do nothing if there is none.

        Raises:
            SettingsError: There is nothing to resume from, or the callbacks differ and may not.
            CheckpointError: The checkpoint is damaged or belongs to another subject.
        """
        source, callbacks = self._source, self._callbacks.values()
        if source is None:
            return

        def find(share: VerificationShare, without: Collection[Location]) -> Checkpoint | None:
            return locate(source, callbacks, share, without)

        def load(checkpoint: Checkpoint) -> None:
            rank, size = group.rank, group.size
            resumption = Resumption(
                checkpoint, self._plugins, self._callbacks, self._state.subject, rank=rank, world_size=size
            )
            if self._strict:
                resumption.refuse_differences()
            resumption.restore_subject(self._state.subject, self._executor.snapshots)
            resumption.report_differences()
            resumption.restore_run(self._state)
            self._resumption = resumption

        with downloads_kept():
            group.restore(find, load, source)

    def finish_last_decision(self, group: ResumingGroup) -> ExecutionResult:
        """Restore the plugins, and execute the remaining actions of the decision that saved the checkpoint.

        Returns:
            The result of the complete decision; empty if the run was not resumed.
        """
        resumption = self._resumption
        if resumption is None:
            return ExecutionResult()
        decision, left = resumption.decision(), ExecutionResult()
        with group.shared():
            resumption.restore_plugins(self._state.subject, self._failures)
            if resumption.mid_epoch:
                self._state.epochs_started += 1
            if group.leads:
                remaining, written = resumption.remaining_actions()
                left = ExecutionResult(remaining, tuple(written))
        left = group.agree(left)
        result = group.execute(left.done, self._executor)
        done = Decision(decision.actions - (left.done.actions - result.done.actions))
        return ExecutionResult(done, (*left.committed, *result.committed), result.failed)

    def finish(self) -> None:
        """Log that the run had stopped, if it had; restore the generators unless an epoch is continued."""
        resumption, state = self._resumption, self._state
        if resumption is None:
            return
        if state.stop_actions and resumption.leads:
            LOG.warning(
                "resumed from %s: this run had stopped: %s; it stays stopped. To continue training, change "
                "the settings of the callback that stopped it, or call clear_stops() of the run",
                resumption.checkpoint.path,
                state.reason,
            )
        if not resumption.mid_epoch:
            resumption.restore_rng(state.subject)

    def reenter_epoch(self) -> None:
        """Continue the interrupted epoch: restore its metrics and states, and the generators from before its loop."""
        resumption = self._resumption
        assert resumption is not None
        resumption.restore_plugins(self._state.subject, self._failures)
        resumption.restore_rng(self._state.subject, loop=True)
        resumption.restore_epoch(self._state)
        self._collector.loop_rng = resumption.loop_rng

    def begin_loop(self, loader: Iterable[T]) -> tuple[Iterable[T], int]:
        """Begin a loop over batches; return what to iterate over, and the number of its first batch in the epoch."""
        state, collector, resumption = self._state, self._collector, self._resumption
        number = state.loops
        state.loops += 1
        collector.start_loop(number, loader)
        if resumption is not None and resumption.mid_epoch:
            state.counters.trained_batches = first = resumption.first_batch(number)
            collector.loop_loader = resumption.loop_loader
            return resumption.remaining_batches(number, loader, state.subject), first
        if resumption is not None:
            resumption.restore_loader(number, loader, state.subject)
        state.counters.trained_batches = 0
        collector.enter_loop(number, loader)
        return loader, 0
