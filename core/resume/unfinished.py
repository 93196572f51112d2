"""What is left of a decision after whose first files a run died."""

from __future__ import annotations

from ..checkpoints import Checkpoint, read
from ..decision import Decision, Forget, Save
from ..errors import CheckpointError
from ..storage.paths import location

__all__ = ["remaining_actions"]


def remaining_actions(decision: Decision, checkpoint: Checkpoint) -> tuple[Decision, list[Checkpoint]]:
    """What is left of a decision of which saving `checkpoint` was a part, and after which the run died.

    What else it saved is to be saved where it is not there yet, and what it forgot is to be forgotten. What is there
    comes second.
    """
    there = [_same_moment(action, checkpoint) for action in decision if isinstance(action, Save)]
    committed = {each.path: each for each in there if each is not None}
    left = frozenset(
        action
        for action in decision
        if isinstance(action, Forget) or (isinstance(action, Save) and location(action.path) not in committed)
    )
    return Decision(left), list(committed.values())


def _same_moment(action: Save, checkpoint: Checkpoint) -> Checkpoint | None:
    """What the action has saved at the moment of this checkpoint; None where it had not come so far."""
    path = location(action.path)
    if path == checkpoint.path:
        return checkpoint
    try:
        there = read(path)
    except CheckpointError:
        return None
    return (
        there
        if there.entry.run_state.get("plugins") == checkpoint.entry.run_state.get("plugins")
        and (there.epoch, there.step) == (checkpoint.epoch, checkpoint.step)
        else None
    )
