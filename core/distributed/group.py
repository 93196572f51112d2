"""The processes that decide as one: the interface that a run sees, and the group of a single process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from ..checkpoints import Checkpoint
from ..decision import NOTHING, Decision
from ..engine.bus import BoundHook
from ..engine.dispatch import CompiledHook
from ..engine.execution_result import ExecutionResult
from ..engine.executor import Executor
from ..errors import UnreadableCheckpoint
from ..failures import LOG
from ..metrics.running_means import RunningMeans
from ..storage.paths import Location, Source, location
from ..storage.sharded_directory import EVERY_PART, VerificationShare
from .coordinator import StopReceiver

Locate = Callable[[VerificationShare, Collection[Location]], Checkpoint | None]
"""Finds the checkpoint to resume from, by the parts to verify and the checkpoints to leave out."""


class Group(Protocol):
    """The processes that decide as one.

    The plugins that decide are called on every rank, with the metrics of all ranks. The decision of rank 0's plugins
    counts, and every rank executes it. Rank 0 writes the files and runs the plugins that only observe. An error on one
    rank is raised on all.
    """

    rank: int
    """The number of this process, counted from 0."""
    size: int
    """The number of processes."""
    leads: bool
    """Whether this process writes files and runs observers."""

    def bind(self, hook: BoundHook) -> CompiledHook:
        """Return the function to call for a compiled hook, once for each hook."""
        ...

    def begin(self, settings: Mapping[str, Any], stop: StopReceiver) -> None:
        """Meet the other ranks for the first time.

        Args:
            settings: Name of each plugin that decides to the settings of its callback.
            stop: Receives requests of other ranks to end the run.

        Raises:
            SettingsError: Another rank lists other callbacks.
        """
        ...

    def shared(self) -> AbstractContextManager[None]:
        """Raise on all ranks an error that one rank raises inside the block."""
        ...

    def restore(self, find: Locate, load: Callable[[Checkpoint], object], source: Source) -> None:
        """Find the checkpoint to resume from and load it on every rank; do nothing if there is none.

        Args:
            find: Finds it, on rank 0.
            load: Loads it.
            source: The user's ``resume``: a checkpoint, a directory or "auto".

        Raises:
            CheckpointError: A checkpoint that the user named is damaged.
        """
        ...

    def agree(self, result: ExecutionResult) -> ExecutionResult:
        """Return rank 0's result on every rank."""
        ...

    def end_epoch(self, means: RunningMeans, executor: Executor) -> tuple[RunningMeans, ExecutionResult]:
        """Return the running means of all ranks, and the results of background writes.

        Raises:
            CheckpointError: A file was not written, and a plugin asked for it with ``on_error="raise"``.
        """
        ...

    def defer(self, error: Exception) -> None:
        """Raise an error at the next barrier, where all ranks can raise it; at once if there is no other rank."""
        ...

    def propose(self, decision: Decision) -> Decision:
        """Accept a decision of the loop; return the part of it to execute now."""
        ...

    def pending(self) -> Decision:
        """Return what loops have decided since the last barrier, if no plugin's decision has included it."""
        ...

    def execute(self, decision: Decision, executor: Executor) -> ExecutionResult:
        """Execute a decision on every rank; the result is the same on all of them."""
        ...

    def request_stop(self, what: Mapping[str, str]) -> None:
        """Ask all ranks to end; may be called from a signal handler, and returns at once."""
        ...

    def may_stop(self) -> bool:
        """Return whether a loop over batches may end here: all ranks are at the same batch."""
        ...

    def arrive(self, error: BaseException | None, executor: Executor) -> BaseException | None:
        """Meet at the end of the run, or leave the group if only this rank has failed; return the run's error."""
        ...

    def final_decision(self, decision: Decision, failure: Exception | None) -> tuple[Decision | None, Exception | None]:
        """Return what all ranks execute at the end, and the error of another rank if there is one.

        The decision is None if this process has left the rank that writes the files.
        """
        ...

    def collect(self, executor: Executor) -> ExecutionResult:
        """Wait for all files; return the result, the same on every rank."""
        ...

    def close(self, executor: Executor) -> None:
        """Stop communicating with the other ranks."""
        ...


class Solo:
    """A single process, which has no other rank to wait for."""

    rank = 0
    size = 1
    leads = True

    def bind(self, hook: BoundHook) -> CompiledHook:
        """Return the compiled hook itself."""
        return hook.call

    def begin(self, settings: Mapping[str, Any], stop: StopReceiver) -> None:
        """Do nothing."""

    @contextmanager
    def shared(self) -> Generator[None]:
        """Do nothing."""
        yield

    def restore(self, find: Locate, load: Callable[[Checkpoint], object], source: Source) -> None:
        """Find the newest checkpoint that can be read, and load it."""
        damaged: list[Location] = []
        while (checkpoint := find(EVERY_PART, damaged)) is not None:
            try:
                load(checkpoint)
            except UnreadableCheckpoint as error:
                if location(source) == checkpoint.path:
                    raise
                LOG.warning("skipped: %s: %s", checkpoint.path, error)
                damaged.append(checkpoint.path)
            else:
                return

    def agree(self, result: ExecutionResult) -> ExecutionResult:
        """Return the result."""
        return result

    def end_epoch(self, means: RunningMeans, executor: Executor) -> tuple[RunningMeans, ExecutionResult]:
        """Return the means, and the results of background writes."""
        return means, executor.writer.collect(wait=False)

    def defer(self, error: Exception) -> None:
        """Raise the error."""
        raise error

    def propose(self, decision: Decision) -> Decision:
        """Return the decision."""
        return decision

    def pending(self) -> Decision:
        """Return nothing."""
        return NOTHING

    def execute(self, decision: Decision, executor: Executor) -> ExecutionResult:
        """Execute the decision."""
        return executor.execute(decision)

    def request_stop(self, what: Mapping[str, str]) -> None:
        """Do nothing."""

    def may_stop(self) -> bool:
        """Return True."""
        return True

    def arrive(self, error: BaseException | None, executor: Executor) -> BaseException | None:
        """Return the error."""
        return error

    def final_decision(self, decision: Decision, failure: Exception | None) -> tuple[Decision | None, Exception | None]:
        """Return the decision."""
        return decision, None

    def collect(self, executor: Executor) -> ExecutionResult:
        """Wait for all files."""
        return executor.writer.collect(wait=True)

    def close(self, executor: Executor) -> None:
        """Do nothing."""
