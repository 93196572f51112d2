"""The charts of a report: the curves of runs with their decisions, and the frontier of a sweep."""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ..axis import AXES
from ..curves import Curves
from ..records import RunOutcome
from ..sweeper import Sweep
from .counted import counted, moment
from .formatting import format_best, format_percent, shorten
from .svg import Axes, Scale, drawing

_LINE_HEIGHT = 14
_POINTS = 600
"""The number of points drawn for the policies, and for a curve; more would not be distinguishable."""


def draw_curve(curves: Curves, row: int, outcome: RunOutcome | None, metric: str) -> str:
    """Draw the metric of one run by epoch or step, with the stop, the best values and the learning rate cuts."""
    width, height = 340, 190
    count = int(curves.lengths[row])
    axis = AXES[curves.units[row]]
    by_steps, unit = axis.by_steps, axis.place
    places = curves.steps[row, :count] if by_steps else curves.epochs[row, :count] + 1
    values = curves.sign * curves.scores[row, :count]
    finite = values[np.isfinite(values)]
    low, high = _range(finite)
    first, last = int(curves.first[row] + 1), int(curves.last[row] + 1)
    if by_steps:
        first, last = _steps(places, outcome)
    x = Scale(float(first), float(max(last, first + 1)), 46, width - 10)
    axes = Axes(x, Scale(low, high, height - 34, 24))
    points = _thinned(list(zip(places.tolist(), values.tolist(), strict=True)))
    name = shorten(curves.names[row], 60)
    if outcome is None:
        description = f"{metric} of {counted([curves.units[row]]).total(count)}"
        return drawing([axes.frame(unit, metric), axes.line(points, "curve")], width, height, name, description)
    stop = outcome.stop

    def place(epoch: int) -> int:
        return outcome.steps[epoch] if by_steps else epoch + 1

    parts = [axes.frame(unit, metric)]
    until = place(stop.epoch) if stop is not None else float("inf")
    parts.append(axes.line([point for point in points if point[0] >= until], "curve after"))
    parts.append(axes.line([point for point in points if point[0] <= until], "curve"))
    parts += [axes.triangle(place(each.epoch), "cut" if each.exact else "cut unsure") for each in outcome.cuts]
    seen, kept = outcome.best_seen, outcome.best_at_stop
    if seen is not None and seen != kept:
        parts.append(axes.dot(place(seen.epoch), seen.value, "missed", 4))
    if kept is not None:
        parts.append(axes.dot(place(kept.epoch), kept.value, "kept", 4))
    if stop is not None:
        parts.append(axes.vertical_line(until, "stop" if stop.exact else "stop unsure"))
        parts.append(axes.label(f"stop {until:,}", until, high - 0.12 * (high - low), "stop-words"))
    at = "in epoch" if outcome.unit == "epoch" else "at"
    ending = f"stops {at} {moment(outcome, stop.epoch)}" if stop is not None else "nothing stops it"
    cuts = f", learning rate first reduced {at} {moment(outcome, outcome.cuts[0].epoch)}" if outcome.cuts else ""
    description = (
        f"{ending}{cuts}; best kept {format_best(kept, outcome.unit)}, best seen {format_best(seen, outcome.unit)}"
    )
    return drawing(parts, width, height, name, description)


def draw_frontier(found: Sweep) -> str:
    """Plot savings against losses of the policies, with the frontier and the recommended policies."""
    width, height = 720, 340
    saved, lost = found.fraction_saved, found.mean_lost
    edge = found.frontier
    recommended = found.recommendations
    # policies that lose much more than the recommended ones are not drawn
    limit = max([3 * each.on_these.lost for each in recommended] + [0.02])
    limit = min(limit, max(float(lost.max(initial=0)), 0.01))
    high = max(float(saved[lost <= limit].max(initial=0)), 0.01) * 1.08
    axes = Axes(Scale(0.0, limit, 56, width - 16), Scale(0.0, high, height - 40, 26))
    inside = np.flatnonzero(lost <= limit)
    chosen = inside[np.linspace(0, len(inside) - 1, min(len(inside), _POINTS)).astype(int)] if len(inside) else inside
    gained = f"{counted(found.curves.units).many} saved"
    parts = [axes.frame("quality lost, as a fraction of what a run gains", gained, percent=True)]
    parts += [axes.dot(float(lost[each]), float(saved[each]), "policy", 2) for each in chosen]
    line = [(float(lost[each]), float(saved[each])) for each in edge if lost[each] <= limit]
    parts.append(axes.line(line, "frontier", steps=True))
    taken: list[float] = []
    for each in recommended:
        here = each.on_these
        parts.append(axes.dot(here.lost, here.saved, "recommended", 5))
        place = axes.y(here.saved)
        while any(abs(place - other) < _LINE_HEIGHT for other in taken):
            place -= _LINE_HEIGHT  # above the other label, not on it
        taken.append(place)
        parts.append(axes.label(each.advice, here.lost, here.saved, "advice", up=axes.y(here.saved) - place))
    description = "; ".join(
        f"{each.advice} saves {format_percent(each.on_these.saved)} and loses {format_percent(each.on_these.lost)}"
        for each in recommended
    )
    return drawing(parts, width, height, f"What {len(found.grid):,} policies save and lose", description)


def _steps(places: NDArray[np.int64], outcome: RunOutcome | None) -> tuple[int, int]:
    """Return the first and the last step that a chart shows."""
    shown = [*places.tolist(), *(outcome.steps.values() if outcome is not None else ())]
    return min(shown), max(shown)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the lowest and the highest value, without outliers that would flatten the rest."""
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    middle_low, middle_high = (float(each) for each in np.percentile(values, [5, 95]))
    spread = middle_high - middle_low
    low, high = max(low, middle_low - 2 * spread), min(high, middle_high + 2 * spread)
    room = 0.04 * (high - low)
    return (low - room, high + room) if high > low and isfinite(room) else (low - 0.5, low + 0.5)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    step = max(len(points) // _POINTS, 1)
    return points if step == 1 else [*points[::step], points[-1]]
