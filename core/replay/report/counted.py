"""What the runs of a report count, in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...terminal import plural
from ..axis import AXES, Unit
from ..records import RunOutcome


class Counted(NamedTuple):
    """The words of a report for what its runs count.

    >>> counted(["epoch", "validation"]).total(12), counted(["iteration"]).total(1)
    ('12 epochs and validations', '1 record')
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


def counted(units: Iterable[Unit]) -> Counted:
    """Return the words for runs that count these units."""
    found = sorted(set(units)) or ["epoch"]
    rows = sorted({AXES[each].row for each in found})
    one, many = " or ".join(rows), " and ".join(f"{row}s" for row in rows)
    if found == ["epoch"]:
        return Counted(one, many, "stops in", "in epoch", "epochs count from 1")
    places = sorted({AXES[each].place for each in found if AXES[each].by_steps})
    numbered = sorted({AXES[each].row for each in found if not AXES[each].by_steps})
    first = [f"{' and '.join(f'{each}s' for each in numbered)} count from 1"] if numbered else []
    first += [f"moments{' of other runs' if first else ''} are {' or '.join(f'{each}s' for each in places)}"] * bool(
        places
    )
    if len(found) > 1:
        return Counted(one, many, "stops", "reached", "; ".join(first))
    return Counted(one, many, "stops at", f"at {AXES[found[0]].place}", "; ".join(first))


def moment(outcome: RunOutcome, epoch: int, step: int | None = None) -> str:
    """Name the end of an epoch, counted from 1, or a step of it; of other units, the unit and its number."""
    if outcome.unit != "epoch":
        return AXES[outcome.unit].moment(epoch, outcome.steps.get(epoch))
    return f"{epoch + 1:,}" if step is None else f"{epoch + 1:,}, step {step:,}"


def moments(outcome: RunOutcome, epochs: Iterable[int]) -> str:
    """Name the ends of several epochs."""
    several = [moment(outcome, each) for each in epochs]
    if outcome.unit == "epoch" or not several:
        return " ".join(several)
    place = AXES[outcome.unit].place
    return " ".join([place, *(each.removeprefix(f"{place} ") for each in several)])
