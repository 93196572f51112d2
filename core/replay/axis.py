"""What the rows of a recorded run are, and what they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

Unit: TypeAlias = Literal["epoch", "validation", "evaluation", "step", "iteration", "timestep"]
"""What a run counts. Of the last three, a row is one record of the log, at a step, iteration or timestep."""


class Axis(NamedTuple):
    """The words for one unit."""

    row: str
    """What one row is; patience counts these."""
    place: str
    """What the moments of a report count: rows, or what ``Recording.steps`` counts."""

    @property
    def by_steps(self) -> bool:
        """Whether a moment is named by the number in ``Recording.steps``, not by that of its row."""
        return self.place != self.row

    def moment(self, row: int, step: int | None) -> str:
        """Name the moment of a row.

        Args:
            row: The number of the row, counted from 0.
            step: Its number in ``Recording.steps``; not needed unless ``by_steps``.

        >>> AXES["epoch"].moment(11, None), AXES["evaluation"].moment(11, 600), AXES["iteration"].moment(11, 4000)
        ('epoch 12', 'evaluation 12', 'iteration 4,000')
        """
        return f"{self.place} {step if self.by_steps and step is not None else row + 1:,}"


AXES: Final[Mapping[Unit, Axis]] = {
    "epoch": Axis("epoch", "epoch"),
    "validation": Axis("validation", "step"),
    "evaluation": Axis("evaluation", "evaluation"),
    "step": Axis("record", "step"),
    "iteration": Axis("record", "iteration"),
    "timestep": Axis("record", "timestep"),
}
