"""Restore a run from a checkpoint, and let its loops continue where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from ..checkpoints import Checkpoint
from ..checkpoints.snapshots import SnapshotStore
from ..decision import Decision
from ..errors import UnreadableCheckpoint
from ..failures import LOG, Failures
from ..resume.resumption import Resumption
from ..storage.paths import Location, Source, location
from ..storage.remote_cache import downloads_kept
from .execution_result import ExecutionResult
from .run_state import RunState

T = TypeVar("T")


P = ParamSpec("P")


class StepBinder(Protocol):
    """Returns the function to call for a step of the run, of which it gets the name: ``Group.bind``."""

    def __call__(self, name: str, step: Callable[P, T], /) -> Callable[P, T]:
        """Return the function to call for the step."""
        ...


class Locate(Protocol):
    """Finds the checkpoint to resume from: ``trainbus.resume.locate.locate`` for given callbacks."""

    def __call__(self, source: Source, *, without: Collection[Location]) -> Checkpoint | None:
        """Return the checkpoint, which is none of those in ``without``; None if there is none."""
        ...


class LoopRecorder(Protocol):
    """The part of ``StateCollector`` that resuming uses: what a checkpoint stores of loops over batches."""

    epoch_rng: Any
    loop_rng: Any
    loop_loader: Any

    def start_loop(self, number: int, loader: Iterable[Any]) -> None:
        """Store the loader of a loop over the batches of the epoch."""
        ...

    def enter_loop(self, loader: Iterable[Any]) -> None:
        """Store the state in which a loop begins."""
        ...


class Resumer:
    """Restores a run from its checkpoint, if it has one, and lets its loops continue.

    Args:
        source: The checkpoint to resume from, a directory or "auto"; None to start from the beginning.
        locate: Finds the checkpoint.
        resumption: Makes the resumption from a checkpoint.
        state: The plain data of the run.
        snapshots: The snapshots in memory.
        loops: Stores the state of loops over batches.
        failures: Records what observers raise.
        bind: Binds the steps that ranks share.
        execute: Executes the remaining actions of the decision that saved the checkpoint.
        strict: Whether the callbacks must be those of the checkpoint.
    """

    def __init__(
        self,
        source: Source | None,
        locate: Locate,
        resumption: Callable[[Checkpoint], Resumption],
        state: RunState,
        snapshots: SnapshotStore,
        loops: LoopRecorder,
        failures: Failures,
        bind: StepBinder,
        execute: Callable[[Decision], ExecutionResult],
        *,
        strict: bool = False,
    ) -> None:
        self._source, self._locate, self._resumption_from, self._strict = source, locate, resumption, strict
        self._state = state
        self._snapshots = snapshots
        self._loops = loops
        self._failures = failures
        self._bind = bind
        self._execute = execute
        self._resumption: Resumption | None = None

    # --- what an adapter calls

    def first_epoch(self, initial_epoch: int, epochs: int | None) -> int:
        """Return the epoch to begin with, counted from 0, for a loop that would begin with ``initial_epoch``.

        Args:
            initial_epoch: The epoch with which the loop begins without a resume.
            epochs: The number of the last epoch, counted from 1; None for no last one.
        """
        resumption = self._resumption
        if resumption is None:
            return initial_epoch
        if epochs is not None and not self._state.stop_actions:
            resumption.warn_if_done(epochs)
        return max(initial_epoch, resumption.position.epochs)

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

    def restore(self) -> None:
        """Load the newest checkpoint that can be read; do nothing if there is none.

        Raises:
            SettingsError: There is nothing to resume from, or the callbacks differ and may not.
            CheckpointError: The checkpoint is damaged or belongs to another subject.
        """
        if self._source is None:
            return
        find, load = self._bind("find_checkpoint", self._find), self._bind("load_checkpoint", self._load)
        damaged: dict[Location, str] = {}
        with downloads_kept():
            while (checkpoint := find(damaged)) is not None:
                try:
                    load(checkpoint)
                except UnreadableCheckpoint as error:
                    if location(self._source) == checkpoint.path:
                        raise
                    damaged[checkpoint.path] = str(error)
                else:
                    return

    def _find(self, damaged: Mapping[Location, str]) -> Checkpoint | None:
        for path, flaw in list(damaged.items())[-1:]:
            LOG.warning("skipped: %s: %s", path, flaw)
        assert self._source is not None
        return self._locate(self._source, without=damaged.keys())

    def _load(self, checkpoint: Checkpoint) -> None:
        resumption = self._resumption_from(checkpoint)
        if self._strict:
            resumption.refuse_differences()
        resumption.restore_subject(self._state.subject, self._snapshots)
        resumption.report_differences()
        resumption.restore_run(self._state)
        self._resumption = resumption

    def finish_last_decision(self) -> ExecutionResult:
        """Restore the plugins, and execute the remaining actions of the decision that saved the checkpoint.

        Returns:
            The result of the complete decision; empty if the run was not resumed.
        """
        resumption, state = self._resumption, self._state
        if resumption is None:
            return ExecutionResult()
        self._bind("restore_plugins", resumption.restore_plugins)(state.subject, self._failures)
        if resumption.mid_epoch:
            state.epochs_started += 1
        left = self._bind("remaining_actions", partial(_remaining_actions, resumption))()
        result, decision = self._execute(left.done), resumption.decision()
        done = Decision(decision.actions - (left.done.actions - result.done.actions))
        return ExecutionResult(done, (*left.committed, *result.committed), result.failed)

    def finish(self) -> None:
        """Log that the run had stopped, if it had; restore the generators unless an epoch is continued."""
        resumption, state = self._resumption, self._state
        if resumption is None:
            return
        if state.stop_actions:
            resumption.warn_that_it_stopped(state.reason)
        if not resumption.mid_epoch:
            resumption.restore_rng(state.subject)

    def reenter_epoch(self) -> None:
        """Continue the interrupted epoch: restore its metrics and states, and the generators from its beginning."""
        resumption = self._resumption
        assert resumption is not None
        resumption.restore_plugins(self._state.subject, self._failures)
        resumption.restore_epoch_rng(self._state.subject)
        resumption.restore_epoch(self._state)
        self._loops.epoch_rng, self._loops.loop_rng = resumption.epoch_rng, resumption.loop_rng
        if not resumption.position.in_loop:
            resumption.reach(self._state.subject)

    def begin_loop(self, loader: Iterable[T]) -> tuple[Iterable[T], int]:
        """Begin a loop over batches; return what to iterate over, and the number of its first batch in the epoch."""
        state, loops, resumption = self._state, self._loops, self._resumption
        number = state.loops
        state.loops += 1
        loops.start_loop(number, loader)
        if resumption is not None and resumption.mid_epoch:
            state.counters.trained_batches = first = resumption.loaders.first_batch(number)
            loops.loop_loader = resumption.loop_loader
            batches = resumption.loaders.remaining_batches(number, loader, state.subject, resumption.reach)
            return batches, first
        if resumption is not None:
            resumption.loaders.restore(number, loader, state.subject)
        state.counters.trained_batches = 0
        loops.enter_loop(loader)
        return loader, 0


def _remaining_actions(resumption: Resumption) -> ExecutionResult:
    decision, written = resumption.remaining_actions()
    return ExecutionResult(decision, tuple(written))
