"""Execute decisions on all ranks except rank 0, which writes the files."""

from __future__ import annotations

from ..decision import Decision, Forget, Keep, Restore
from ..engine.execution_result import ExecutionResult
from ..engine.executor import Executor, needs_files


class Follower:
    """Executes the actions that every rank executes, on all ranks except rank 0.

    Args:
        executor: The executor of this rank.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def execute(self, decision: Decision) -> ExecutionResult:
        """Execute the actions before rank 0 writes its files; write this rank's part if all ranks write.

        Raises:
            MissingCapability: The subject cannot do what is asked.
            CheckpointError: A file that all ranks write in the background failed.
        """
        executor = self._executor
        executor.change_rates(decision)
        if not executor.is_collective or not needs_files(decision):
            executor.keep(decision)
        else:
            executor.prepare(decision)
            executor.writer.write(decision, background=executor.in_background(decision), after=lambda _: None)
            executor.collect(wait=False)
        return ExecutionResult(decision)

    def finish(self, decision: Decision) -> None:
        """Execute the actions after rank 0 has written its files.

        Raises:
            MissingCapability: The subject cannot do what is asked.
            CheckpointError: A file cannot be restored.
        """
        kept = {action.slot for action in decision if isinstance(action, Keep)}
        for action in decision:
            if isinstance(action, Restore):
                self._executor.restore(action)
            elif isinstance(action, Forget) and action.source not in kept:
                self._executor.snapshots.drop(action.source)
