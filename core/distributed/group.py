"""The processes that decide as one: the interface that a run sees, and the group of a single process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, Protocol, TypeVar

from ..decision import Decision
from ..engine.execution_result import ExecutionResult
from ..engine.executor import Executor
from .coordinator import StopReceiver

P = ParamSpec("P")
T = TypeVar("T")


class Group(Protocol):
    """The processes that decide as one.

    The plugins that decide are called on every rank, with the metrics of all ranks. Every rank executes the decision of
    rank 0's plugins. Rank 0 writes the files and calls the plugins that only observe. An error on one rank is raised on
    all.
    """

    rank: int
    """The number of this process, counted from 0."""
    size: int
    """The number of processes."""

    def calls(self, plugin: object) -> bool:
        """Return whether this process calls a plugin."""
        ...

    def bind(self, name: str, step: Callable[P, T]) -> Callable[P, T]:
        """Return the function to call for a step of the run at which ranks may meet; every rank calls it.

        Args:
            name: A hook, or another step that ``trainbus.distributed.rank_group`` lists with the way in which ranks
                share it. For other steps, ranks share only the errors.
            step: The function that a single process calls.
        """
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

    def execute(
        self, decision: Decision, executor: Executor, record: Callable[[ExecutionResult], object]
    ) -> ExecutionResult:
        """Execute a decision on every rank; the result is the same on all of them.

        A decision that a step has returned is executed now, since all ranks have it. Any other decision is known only
        to this rank: all ranks execute it at the next step that decides, and the result is empty.

        Args:
            decision: What to do.
            executor: The executor of this rank.
            record: Called first with what became of the files of earlier decisions, so that this one's store it.
        """
        ...

    def request_stop(self, what: Mapping[str, str]) -> None:
        """Ask all ranks to end; may be called from a signal handler, and returns at once."""
        ...

    def may_stop(self) -> bool:
        """Return whether a loop over batches may end here: all ranks are at the same batch."""
        ...

    def end(self, error: BaseException | None, executor: Executor) -> AbstractContextManager[BaseException | None]:
        """Meet at the end of the run, or leave the group if only this rank has failed.

        Args:
            error: The error that has ended the loop of this rank.
            executor: The executor of this rank, which leaves its writer group, too.

        Returns:
            A context in which ranks share the last steps; its value is the error that has ended the run.
        """
        ...


class Solo:
    """A single process, which has no other rank to wait for."""

    rank = 0
    size = 1

    def calls(self, plugin: object) -> bool:
        """Return True."""
        return True

    def bind(self, name: str, step: Callable[P, T]) -> Callable[P, T]:
        """Return the step itself."""
        return step

    def begin(self, settings: Mapping[str, Any], stop: StopReceiver) -> None:
        """Do nothing."""

    def execute(
        self, decision: Decision, executor: Executor, record: Callable[[ExecutionResult], object]
    ) -> ExecutionResult:
        """Execute the decision."""
        return execute_alone(decision, executor, record)

    def request_stop(self, what: Mapping[str, str]) -> None:
        """Do nothing."""

    def may_stop(self) -> bool:
        """Return True."""
        return True

    def end(self, error: BaseException | None, executor: Executor) -> AbstractContextManager[BaseException | None]:
        """Return the error."""
        return nullcontext(error)


def execute_alone(
    decision: Decision, executor: Executor, record: Callable[[ExecutionResult], object]
) -> ExecutionResult:
    """Execute a decision in a process that no other one waits for."""
    earlier = executor.finish_earlier(decision)
    record(earlier)
    return executor.execute(decision, earlier=earlier)
