"""The decisions of a run: how many of which kind fell in an epoch, and a table of them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainbus import Decision
from trainbus.decision import Action, Forget, Keep, Restore, Save, ScaleLearningRate, Stop

from .markdown import table

HEADER = ("epoch", "decision", "of", "reason", "asked for by")

KINDS: dict[type[Action], str] = {
    ScaleLearningRate: "learning_rate_cut",
    Keep: "kept_in_memory",
    Save: "checkpoint",
    Restore: "restored",
    Forget: "forgotten",
    Stop: "stop",
}


class DecisionLog:
    """Takes in the decisions of one run."""

    def __init__(self) -> None:
        self._rows: list[list[Any]] = []
        self._counts: dict[str, int] = {}  # of every kind that ever fell, since the last `take`

    def add(self, epoch: int, decision: Decision) -> str:
        """Take in a decision of this epoch, counted from 0; its table."""
        rows: list[list[Any]] = []
        for action in decision:
            kind = KINDS[type(action)]
            self._counts[kind] = self._counts.get(kind, 0) + 1
            rows.append([epoch + 1, kind.replace("_", " "), _of(action), action.reason, action.by])
        self._rows += rows
        return table(HEADER, rows)

    def take(self) -> dict[str, float]:
        """How many of each kind fell since this was asked last, by tag; of kinds that ever fell."""
        taken = {f"training_decisions/{kind}": float(count) for kind, count in self._counts.items()}
        self._counts = dict.fromkeys(self._counts, 0)
        return taken

    def table(self) -> str:
        """All decisions; empty where there was none."""
        return table(HEADER, self._rows) if self._rows else ""

    def state_dict(self) -> dict[str, Any]:
        """What was taken in, as plain data."""
        return {"rows": self._rows, "counts": self._counts}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._rows, self._counts = [list(row) for row in saved["rows"]], dict(saved["counts"])


def _of(action: Action) -> str:
    match action:
        case ScaleLearningRate():
            return f"x {action.factor:g}" + (f", not below {action.floor:g}" if action.floor else "")
        case Save():
            return action.path
        case Keep():
            return action.slot
        case Restore() | Forget():
            return action.source
        case _:
            return ""
