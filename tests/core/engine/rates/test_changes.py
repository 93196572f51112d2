"""The changes of rates that are checked, and how they are compared."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from trainbus.engine.rates.changes import Change, RateChanges, _is_nearer
from trainbus.engine.run_state import RunState
from trainbus.testing import LineSubject


def change(before: float, after: float) -> Change:
    return Change("Some", 0, 1, {"a": before}, {"a": after}, lambda: {"a": before}, {"a"}, {})


@pytest.mark.parametrize(
    ("before", "after", "factor"), [(0.5, 0.25, 0.5), (0.0, 0.5, 1.0), (5e-324, 1.0, 1.0), (0.5, 0.0, 0.0)]
)
def test_a_change_has_a_finite_factor(before: float, after: float, factor: float) -> None:
    """A rate that was set from 0, or from almost 0, was not multiplied."""
    assert change(before, after).factor("a") == factor
    assert change(before, after).factor("b") == 1.0


@pytest.mark.parametrize("superseded", [True, False])
def test_what_is_set_anew_is_not_checked_any_more(superseded: bool) -> None:
    """A rate that has gone back is undone, unless the run has set it."""
    state, reports = RunState(LineSubject()), list[Any]()
    changes = RateChanges(state, lambda *report: reports.append(report), lambda _: None)
    changes.add(change(0.5, 0.05))
    if superseded:
        changes.supersede({"a"})
    state.start_epoch(1)
    changes.check({"a": 0.5})

    assert len(reports) == (not superseded)
    assert len(changes.pending(had_update=False)) == 0


@pytest.mark.parametrize(
    ("rate", "one", "other"),
    [
        (1e-300, 1e300, 1.0),
        (1e300, 1e-300, 1.0),
        (1.0, inf, 0.5),
        (inf, 1.0, 0.5),
        (5e-324, 1e308, 1.0),
        (nan, 1.0, 0.1),
    ],
)
def test_rates_far_from_each_other_are_compared(rate: float, one: float, other: float) -> None:
    """A manifest may name any rate; no quotient of two is too small or too large."""
    assert not _is_nearer(rate, one, other)
