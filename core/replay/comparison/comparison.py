"""The comparison of recorded runs: what each reached, when, how long it took, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Literal

from trainbus import BestValue

from ..axis import AXES, Unit
from ..curves import Curves, build_curves, first_best
from ..metric_choice import MetricChoice, choose_metric, with_metrics
from ..records import Recording
from .differences import differing


@dataclass(frozen=True)
class ComparedRun:
    """One run beside others."""

    name: str
    unit: Unit
    """What the run counts."""
    rows: int
    """The number of epochs, or of rows of a run that counts something else."""
    best: BestValue | None
    """The best finite value; None if there is none."""
    last: float
    """The last logged value, NaN included."""
    seconds: float | None
    """The seconds between the ends of the first and the last row; None if unknown."""
    seconds_to_best: float | None
    """The seconds until the end of the row with the best value; None if unknown."""
    settings: Mapping[str, object]
    """The settings of the run by name, as far as its files tell them."""

    def as_data(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the run as plain data, with the settings of these names."""
        best = None
        if self.best is not None:
            best = {"value": self.best.value, AXES[self.unit].row: self.best.epoch}
            best |= {} if self.best.step is None else {"step": self.best.step}
        return {
            "run": self.name,
            "unit": self.unit,
            "rows": self.rows,
            "best": best,
            "last": self.last if isfinite(self.last) else str(self.last),
            "seconds": self.seconds,
            "seconds_to_best": self.seconds_to_best,
            "settings": {name: self.settings[name] for name in names if name in self.settings},
        }


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, the best first."""

    choice: MetricChoice
    """The metric by which the runs are compared, and why it was chosen."""
    runs: tuple[ComparedRun, ...]
    curves: Curves
    """The metric of each run, in the same order."""
    notes: tuple[str, ...] = ()
    """What was left out or guessed, one sentence each."""

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """The names of the settings in which the runs differ, the most telling first."""
        return tuple(differing([each.settings for each in self.runs]))

    def as_data(self) -> dict[str, Any]:
        """Return the comparison as plain data for machines. Epochs and other rows count from 0."""
        return {
            **self.choice._asdict(),
            "settings": list(self.differing),
            "runs": [each.as_data(self.differing) for each in self.runs],
            "notes": list(self.notes),
        }

    def as_rows(self) -> list[dict[str, Any]]:
        """Return a row of single values for each run."""
        rows: list[dict[str, Any]] = []
        for each in self.runs:
            data = each.as_data(self.differing)
            best, settings = data.pop("best") or {"value": None}, data.pop("settings")
            data |= {"best": best.pop("value"), **{f"best_{key}": value for key, value in best.items()}}
            rows.append({**data, **{f"settings.{name}": settings.get(name) for name in self.differing}})
        return rows


def compare(
    recordings: Sequence[Recording], *, monitor: str | None = None, mode: Literal["auto", "min", "max"] = "auto"
) -> Comparison:
    """Return recorded runs side by side, the best first.

    Args:
        recordings: The runs.
        monitor: The metric that compares them; None chooses it, as for ``replay``.
        mode: Whether lower or higher values are better; "auto" judges by the name of the metric.

    Raises:
        SettingsError: There are no runs.
        MissingMetric: No run logs ``monitor``, or no metric has a known direction.
        UnknownDirection: The direction of ``monitor`` is unknown, and ``mode`` is "auto".

    >>> import numpy as np
    >>> from trainbus.replay import Series
    >>> def run(name, losses, **settings):
    ...     values = np.array(losses)
    ...     return Recording(name, np.arange(len(losses)), {"val_loss": Series(values, np.isfinite(values))},
    ...                      settings=settings)
    >>> found = compare([run("a", [3.0, 2.0, 2.5], lr=0.1), run("b", [3.0, 1.0, 2.0], lr=0.2)])
    >>> [(each.name, each.best.value, each.best.epoch) for each in found.runs], found.differing
    ([('b', 1.0, 1), ('a', 2.0, 1)], ('lr',))
    """
    choice = choose_metric(recordings, monitor, mode)
    logging, notes = with_metrics(recordings, [choice])
    curves = build_curves(logging, choice)
    found = [_compared(each, curves, row) for row, each in enumerate(logging)]
    order = sorted(range(len(found)), key=lambda row: _score(found[row], choice))
    return Comparison(choice, tuple(found[row] for row in order), curves.in_order(order), tuple(notes))


def _score(run: ComparedRun, choice: MetricChoice) -> float:
    return float("inf") if run.best is None else -choice.sign * run.best.value


def _compared(recording: Recording, curves: Curves, row: int) -> ComparedRun:
    length = int(curves.lengths[row])
    scores = curves.scores[row, :length]
    best, to_best = None, None
    column = first_best(scores)
    if column is not None:
        step = int(curves.steps[row, column]) if recording.by_steps else None
        best = BestValue(curves.sign * float(scores[column]), int(curves.epochs[row, column]), step=step)
        passed = float(curves.times[row, column] - curves.begin[row])
        to_best = passed if isfinite(passed) else None
    last = curves.sign * float(scores[-1]) if length else float("nan")
    rows = len(recording.epochs)
    seconds = recording.duration
    return ComparedRun(recording.name, recording.unit, rows, best, last, seconds, to_best, recording.settings)
