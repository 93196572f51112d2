"""What became of a decision, as ranks tell it to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoints import Checkpoint, ManifestEntry
from ..checkpoints.async_writer import FailedSave
from ..decision import NOTHING
from ..engine.executor import ExecutionResult
from ..errors import CheckpointError
from ..resume.state import decision_from_json, decision_to_json
from ..storage.paths import location

__all__ = ["NO_NEWS", "outcome_from_plain", "outcome_to_plain"]

NO_NEWS = ExecutionResult(NOTHING, [], [])


def outcome_to_plain(outcome: ExecutionResult) -> dict[str, Any]:
    """What ranks tell each other: without what checkpoints remember, which can be much."""
    return {
        "done": decision_to_json(outcome.done),
        "committed": [
            [str(path), content.model_dump(mode="json", exclude={"run_state"})]
            for path, content in ((each.path, each.entry) for each in outcome.committed)
        ],
        "unwritten": [[str(path), step, str(error)] for path, step, error in outcome.unwritten],
    }


def outcome_from_plain(plain: Mapping[str, Any]) -> ExecutionResult:
    """What `outcome_to_plain` was given, with errors of which only the words are left."""
    return ExecutionResult(
        decision_from_json(plain["done"]),
        [
            Checkpoint(path=location(path), entry=ManifestEntry.model_validate(each))
            for path, each in plain["committed"]
        ],
        [FailedSave(location(path), step, CheckpointError(words)) for path, step, words in plain["unwritten"]],
    )
