"""What the runs of a report count, in words: epochs, or the validations of loops by steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...engine.plan import Unit
from ...terminal import plural
from ..records import RunOutcome


class Counted(NamedTuple):
    """The words of a report for what its runs count.

    >>> counted(["epoch", "validation"]).total(12), counted(["validation"]).total(1)
    ('12 epochs and validations', '1 validation')
    """

    one: str
    many: str
    stops: str
    """The heading above the moments of stops."""
    best: str
    """The heading above the moments of best values."""
    first: str
    """From where it counts."""

    def total(self, number: int) -> str:
        """Return a number of them."""
        return plural(number, self.one) if self.many == f"{self.one}s" else f"{number:,} {self.many}"


_EPOCHS = Counted("epoch", "epochs", "stops in", "in epoch", "epochs count from 1")
_VALIDATIONS = Counted("validation", "validations", "stops at", "at step", "moments are steps")
_BOTH = Counted(
    "epoch or validation",
    "epochs and validations",
    "stops",
    "reached",
    "epochs count from 1; moments of loops by steps are steps",
)


def counted(units: Iterable[Unit]) -> Counted:
    """Return the words for runs that count these units."""
    found = set(units)
    return _VALIDATIONS if found == {"validation"} else _EPOCHS if found <= {"epoch"} else _BOTH


def moment(outcome: RunOutcome, epoch: int, step: int | None = None) -> str:
    """Name the end of an epoch, counted from 1, or a step of it; of a loop by steps, the step of a validation."""
    if outcome.unit == "validation":
        return f"step {outcome.steps[epoch]}"
    return f"{epoch + 1}" if step is None else f"{epoch + 1}, step {step}"


def moments(outcome: RunOutcome, epochs: Iterable[int]) -> str:
    """Name the ends of several epochs."""
    if outcome.unit == "validation":
        return " ".join(["step", *(str(outcome.steps[each]) for each in epochs)])
    return " ".join(str(each + 1) for each in epochs)
