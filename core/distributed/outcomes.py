"""What became of a decision, as ranks tell it to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoints.async_writer import Unwritten
from ..checkpoints.discovery import Checkpoint, Content
from ..decision import NOTHING
from ..engine.executor import Outcome
from ..errors import CheckpointError
from ..resume.state import decision_from_plain, decision_to_plain
from ..storage.paths import location

__all__ = ["NO_NEWS", "outcome_from_plain", "outcome_to_plain"]

NO_NEWS = Outcome(NOTHING, [], [])


def outcome_to_plain(outcome: Outcome) -> dict[str, Any]:
    """What ranks tell each other: without what checkpoints remember, which can be much."""
    return {
        "done": decision_to_plain(outcome.done),
        "committed": [
            [str(path), content.model_dump(mode="json", exclude={"memory"})]
            for path, content in ((each.path, each.content) for each in outcome.committed)
        ],
        "unwritten": [[str(path), step, str(error)] for path, step, error in outcome.unwritten],
    }


def outcome_from_plain(plain: Mapping[str, Any]) -> Outcome:
    """What `outcome_to_plain` was given, with errors of which only the words are left."""
    return Outcome(
        decision_from_plain(plain["done"]),
        [Checkpoint(path=location(path), content=Content.model_validate(each)) for path, each in plain["committed"]],
        [Unwritten(location(path), step, CheckpointError(words)) for path, step, words in plain["unwritten"]],
    )
