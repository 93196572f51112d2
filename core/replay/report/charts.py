"""The charts of a report: the curves of runs with their decisions, and the frontier of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from ...terminal import plural
from ..axis import AXES
from ..curves import Curves
from ..records import RunOutcome
from ..sweeper import Recommendation, Sweep
from .counted import counted, moment
from .formatting import format_best, format_percent, shorten
from .svg import Axes, Label, Scale, drawing, element

_TOGETHER = 200
"""The number of runs in one chart; more could not be told apart."""
_DESCRIBED = 3
"""The number of runs that the description of such a chart names."""
_POINTS = 600
"""The number of points drawn for the policies, and for a curve; more would not be distinguishable."""
_TOP = 40
"""The height above a plot, for the name of the y axis and a line of labels."""


def draw_curve(curves: Curves, row: int, outcome: RunOutcome | None, metric: str, *, large: bool = False) -> str:
    """Draw the metric of one run by epoch or step, with the stop, the best values and the learning rate cuts.

    Args:
        curves: The curves.
        row: The run.
        outcome: What would have been decided on it; None draws the curve alone.
        metric: The name of the metric.
        large: Whether the chart has the width of the page.
    """
    width, height = (720, 300) if large else (340, 206)
    axis = AXES[curves.units[row]]
    points = _points(curves, row)
    finite = np.array([value for _, value in points if isfinite(value)])
    low, high = _range(finite)
    first, last = float(curves.first[row] + 1), float(curves.last[row] + 1)
    if axis.by_steps:
        first, last = _steps([place for place, _ in points], outcome)
    x = Scale(first, max(last, first + 1), 46, width - 10)
    axes = Axes(x, Scale(low, high, height - 34, _TOP))
    name = shorten(curves.names[row], 60)
    if outcome is None:
        description = f"{metric} of {counted([curves.units[row]]).total(len(points))}"
        parts = [axes.frame(axis.place, metric), axes.line(_thinned(points), "curve")]
        return drawing(parts, width, height, name, description)
    stop = outcome.stop

    def place(epoch: int) -> int:
        return outcome.steps[epoch] if axis.by_steps else epoch + 1

    parts = [axes.frame(axis.place, metric)]
    until = place(stop.epoch) if stop is not None else float("inf")
    parts.append(axes.line(_thinned([point for point in points if point[0] >= until]), "curve after"))
    parts.append(axes.line(_thinned([point for point in points if point[0] <= until]), "curve"))
    parts += [axes.triangle(place(each.epoch), "cut" if each.exact else "cut unsure") for each in outcome.cuts]
    labels: list[Label] = []
    seen, kept = outcome.best_seen, outcome.best_at_stop
    if seen is not None and seen != kept:
        parts.append(axes.dot(place(seen.epoch), seen.value, "missed", 4))
        labels.append(Label(f"best {place(seen.epoch):,}", place(seen.epoch), "missed-words"))
    if kept is not None:
        parts.append(axes.dot(place(kept.epoch), kept.value, "kept", 4))
        word = "best" if seen == kept else "kept"
        labels.append(Label(f"{word} {place(kept.epoch):,}", place(kept.epoch), "kept-words"))
    if stop is not None:
        parts.append(axes.vertical_line(until, "stop" if stop.exact else "stop unsure"))
        labels.append(Label(f"stop {until:,}", until, "stop-words"))
    parts.append(axes.labels(labels))
    at = "in epoch" if curves.units[row] == "epoch" else "at"
    ending = f"stops {at} {moment(outcome, stop.epoch)}" if stop is not None else "nothing stops it"
    cuts = f", learning rate first reduced {at} {moment(outcome, outcome.cuts[0].epoch)}" if outcome.cuts else ""
    description = (
        f"{ending}{cuts}; best kept {format_best(kept, outcome.unit)}, best seen {format_best(seen, outcome.unit)}"
    )
    return drawing(parts, width, height, name, description)


def draw_together(curves: Curves, titles: Sequence[str], metric: str) -> str:
    """Draw the metric of all runs in one chart; the first run is emphasized.

    Args:
        curves: The curves, the first one on top of the others.
        titles: What is shown of each run under the pointer.
        metric: The name of the metric.
    """
    width, height = 720, 320
    shown = [_points(curves, row) for row in range(min(len(titles), _TOGETHER))]
    finite = [(x, y) for points in shown for x, y in points if isfinite(y)]
    xs, ys = [x for x, _ in finite] or [0.0], np.array([y for _, y in finite])
    low, high = _range(ys)
    axes = Axes(Scale(min(xs), max(*xs, min(xs) + 1), 46, width - 10), Scale(low, high, height - 34, _TOP))
    units = {AXES[curves.units[row]].place for row in range(len(shown))}
    parts = [axes.frame(" or ".join(sorted(units)), metric)]
    for row in reversed(range(len(shown))):
        inside = [(x, y if low <= y <= high else nan) for x, y in _thinned(shown[row])]
        line = axes.line(inside, "curve" if row == 0 else "curve other")
        parts.append(element("g", element("title", escape(titles[row])) + line, class_="run"))
    description = "; ".join(titles[:_DESCRIBED])
    return drawing(parts, width, height, f"{metric} of {plural(len(shown), 'run')}", description)


def draw_frontier(found: Sweep, policies: Sequence[tuple[str, Recommendation]]) -> str:
    """Plot savings against losses of the policies, with the frontier and the recommended policies.

    Args:
        found: The sweep.
        policies: The recommended policies, each with the words for it.
    """
    width, height = 720, 340
    saved, lost = found.fraction_saved, found.mean_lost
    edge = found.frontier
    # policies that lose much more than the recommended ones are not drawn
    limit = max([3 * each.on_these.lost for _, each in policies] + [0.02])
    limit = min(limit, max(float(lost.max(initial=0)), 0.01))
    high = max(float(saved[lost <= limit].max(initial=0)), 0.01) * 1.08
    axes = Axes(Scale(0.0, limit, 56, width - 16), Scale(0.0, high, height - 40, _TOP))
    inside = np.flatnonzero(lost <= limit)
    chosen = inside[np.linspace(0, len(inside) - 1, min(len(inside), _POINTS)).astype(int)] if len(inside) else inside
    gained = f"{counted(found.curves.units).many} saved"
    parts = [axes.frame("quality lost, as a fraction of what a run gains", gained, percent=True)]
    parts += [axes.dot(float(lost[each]), float(saved[each]), "policy", 2) for each in chosen]
    line = [(float(lost[each]), float(saved[each])) for each in edge if lost[each] <= limit]
    parts.append(axes.line(line, "frontier", steps=True))
    for _, each in policies:
        here = each.on_these
        parts.append(axes.line([(here.lost, here.saved), (here.lost, high)], "leader"))
        parts.append(axes.dot(here.lost, here.saved, "recommended", 5))
    parts.append(axes.labels([Label(words, each.on_these.lost, "advice") for words, each in policies]))
    description = "; ".join(
        f"{words} saves {format_percent(each.on_these.saved)} and loses {format_percent(each.on_these.lost)}"
        for words, each in policies
    )
    return drawing(parts, width, height, f"What {len(found.grid):,} policies save and lose", description)


def _points(curves: Curves, row: int) -> list[tuple[float, float]]:
    count = int(curves.lengths[row])
    by_steps = AXES[curves.units[row]].by_steps
    places = curves.steps[row, :count] if by_steps else curves.epochs[row, :count] + 1
    values = curves.sign * curves.scores[row, :count]
    return list(zip(places.tolist(), values.tolist(), strict=True))


def _steps(places: Sequence[float], outcome: RunOutcome | None) -> tuple[float, float]:
    """Return the first and the last step that a chart shows."""
    shown = [*places, *(outcome.steps.values() if outcome is not None else ())]
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
