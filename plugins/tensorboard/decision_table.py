"""The decisions of a run: a table of all of them, and the number of each kind in each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainbus import Decision
from trainbus.decision import Action, Forget, Keep, Restore, Save, ScaleLearningRate, SetLearningRate, Stop

from .text_tables import table

HEADER = ("decision", "target", "reason", "plugin")

KINDS: dict[type[Action], tuple[str, str]] = {
    ScaleLearningRate: ("learning_rate_cut", ""),
    SetLearningRate: ("learning_rate_set", ""),
    Keep: ("kept_in_memory", "slot"),
    Save: ("checkpoint", "path"),
    Restore: ("restored", "source"),
    Forget: ("forgotten", "source"),
    Stop: ("stop", ""),
}
"""The name of each kind of action, and which of its fields names the target."""


SHOWN = 200
"""Rows that the table of all decisions has at most; each decision has its own table in its epoch."""


class DecisionTable:
    """Collects the decisions of one run: the last ones, and how many there were."""

    def __init__(self) -> None:
        self.unit = "epoch"
        """What says when a decision was made."""
        self._rows: list[list[Any]] = []
        self._earlier = 0
        """Rows before these."""
        self._counts: dict[str, int] = {}  # since the last `take_counts`, of every kind that ever occurred

    def add(self, at: int, decision: Decision) -> str:
        """Add a decision of this epoch, counted from 1, or of this step, and return it as a separate table."""
        rows: list[list[Any]] = []
        for action in decision:
            kind, target = KINDS[type(action)]
            if isinstance(action, ScaleLearningRate):
                where = f" of {', '.join(action.groups)}" if action.groups else ""
                shown = f"x {action.factor:g}{where}" + (f", not below {_shown(action.floor)}" if action.floor else "")
            elif isinstance(action, SetLearningRate):
                shown = _shown(action.rate)
            else:
                shown = ", ".join(action.paths) if isinstance(action, Save) else getattr(action, target, "")
            self._counts[kind] = self._counts.get(kind, 0) + 1
            rows.append([at, kind.replace("_", " "), shown, action.reason, action.by])
        self._rows += rows
        self._earlier += max(len(self._rows) - SHOWN, 0)
        del self._rows[:-SHOWN]
        return table((self.unit, *HEADER), rows)

    def take_counts(self) -> dict[str, float]:
        """Return, by tag, the number of decisions of each kind since the last call, and reset the counts."""
        counts = {f"training_decisions/{kind}": float(count) for kind, count in self._counts.items()}
        self._counts = dict.fromkeys(self._counts, 0)
        return counts

    def table(self) -> str:
        """Return the last decisions, and how many came before; empty if there were none."""
        if not self._rows:
            return ""
        earlier = f"{self._earlier} earlier decisions are shown at their own steps.\n\n" if self._earlier else ""
        return earlier + table((self.unit, *HEADER), self._rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and counts."""
        return {"rows": [list(row) for row in self._rows], "earlier": self._earlier, "counts": self._counts}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self._rows, self._counts = [list(row) for row in saved["rows"]], dict(saved["counts"])
        self._earlier = saved["earlier"]


def _shown(rate: float | Mapping[str, float]) -> str:
    return ", ".join(f"{name}={each:g}" for name, each in rate.items()) if isinstance(rate, Mapping) else f"{rate:g}"
