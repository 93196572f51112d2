"""The text of a comparison: a line for each run, the settings that there is room for, and how many there are more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainbus.replay import Recording, compare
from trainbus.replay.report.comparison_text import SETTINGS_SHOWN, comparison_text

from ..recorded import recording


def runs(count: int, **settings: object) -> list[Recording]:
    return [
        replace(
            recording([3.0, 2.0 + number, 2.5], f"run-{number}"),
            settings={name: number if value is None else value for name, value in settings.items()},
        )
        for number in range(count)
    ]


def test_a_line_tells_what_a_run_reached_when_and_with_what() -> None:
    """The best run comes first; epochs count from 1; a run without a setting has none."""
    first, second = runs(2, lr=None, model="small")
    recorded = [second, replace(first, settings={"model": "small"}, times=np.array([0.0, 60.0, 120.0]))]
    lines = comparison_text(recorded, compare(recorded)).splitlines()
    assert lines[1] == "compared by val_loss, lower is better (the loss on held-out data)"
    header, best, other = (line.split() for line in lines[3:6])
    assert header == ["run", "best", "in", "epoch", "epochs", "last", "time", "to", "best", "lr"]
    assert best == ["run-0", "2", "2", "3", "2.5", "2", "min", "1", "min", "-"]
    assert other == ["run-1", "2.5", "3", "3", "2.5", "1"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "No file of the runs tells their settings."),
        ({"lr": 0.1}, "The known settings of the runs are equal."),
        ({f"s{number}": None for number in range(SETTINGS_SHOWN + 3)}, "differ in 3 other settings: s6, s7, s8"),
    ],
    ids=["none", "equal", "many"],
)
def test_what_is_not_in_the_table_is_said(settings: dict[str, object], words: str) -> None:
    """Why no setting is shown, or which others there are."""
    recorded = runs(2, **settings)
    assert words in comparison_text(recorded, compare(recorded))


def test_lines_fit_into_a_terminal() -> None:
    """Long names and values are shortened in the middle."""
    recorded = [
        replace(
            each, name=each.name * 20, settings={f"{'x' * 80}{number}": "y" * 200 + each.name for number in range(9)}
        )
        for each in runs(3)
    ]
    text = comparison_text(recorded, compare(recorded))
    assert max(map(len, text.splitlines())) < 260
    assert "yyy…" in text
