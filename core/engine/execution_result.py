"""The result of executing a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..checkpoints import Checkpoint, ManifestEntry
from ..checkpoints.async_writer import FailedSave
from ..decision import NOTHING, Decision
from ..decision.json_format import decision_from_json, decision_to_json
from ..errors import CheckpointError
from ..storage.paths import location


class ExecutionResult(NamedTuple):
    """The executed actions of a decision, and the files that were written, or failed, since the last result."""

    done: Decision = NOTHING
    """The actions that were executed, including those that the writer thread will finish."""
    committed: tuple[Checkpoint, ...] = ()
    """The checkpoints that were completed since the last result."""
    failed: tuple[FailedSave, ...] = ()
    """The checkpoints that could not be written since then, if the plugins that asked for them let the run continue."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON data, without the run states of the checkpoints, which can be large."""
        return {
            "done": decision_to_json(self.done),
            "committed": [
                [str(path), entry.model_dump(mode="json", exclude={"run_state"})]
                for path, entry in ((each.path, each.entry) for each in self.committed)
            ],
            "failed": [[str(path), step, str(error)] for path, step, error in self.failed],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExecutionResult:
        """Return the result that ``to_json`` was called on; of errors only the message is kept."""
        return cls(
            decision_from_json(data["done"]),
            tuple(
                Checkpoint(path=location(path), entry=ManifestEntry.model_validate(each))
                for path, each in data["committed"]
            ),
            tuple(FailedSave(location(path), step, CheckpointError(words)) for path, step, words in data["failed"]),
        )


NO_RESULT = ExecutionResult()
"""The result of doing nothing."""
