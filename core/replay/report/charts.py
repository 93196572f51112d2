"""What a page shows of replays and sweeps in pictures: the curves of runs with decisions, and the frontier."""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ..curves import Curves
from ..outcome import Outcome
from ..sweeper import Sweep
from .formatting import at_epoch, percent, short
from .svg import Axes, Scale, drawing

__all__ = ["curve_chart", "frontier_chart"]

_LINE = 14
"""Height of a line of words."""
_POINTS = 600
"""Policies that are drawn beside the frontier, and values of a curve: more are not to be told apart."""


def curve_chart(curves: Curves, row: int, outcome: Outcome | None, metric: str) -> str:
    """The metric of one run by epoch, with where it stops, what was best, and where the rate is reduced."""
    width, height = 340, 190
    count = int(curves.lengths[row])
    epochs = curves.epochs[row, :count] + 1
    values = curves.sign * curves.scores[row, :count]
    finite = values[np.isfinite(values)]
    low, high = _range(finite)
    x = Scale(float(curves.first[row] + 1), float(max(curves.last[row] + 1, curves.first[row] + 2)), 46, width - 10)
    axes = Axes(x, Scale(low, high, height - 34, 24))
    points = _thinned(list(zip(epochs.tolist(), values.tolist(), strict=True)))
    name = short(curves.names[row], 60)
    if outcome is None:
        description = f"{metric} of {count} epochs"
        return drawing([axes.frame("epoch", metric), axes.line(points, "curve")], width, height, name, description)
    stop = outcome.stop
    parts = [axes.frame("epoch", metric)]
    until = stop.epoch + 1 if stop is not None else float("inf")
    parts.append(axes.line([point for point in points if point[0] >= until], "curve after"))
    parts.append(axes.line([point for point in points if point[0] <= until], "curve"))
    parts += [axes.wedge(each.epoch + 1, "cut" if each.exact else "cut unsure") for each in outcome.cuts]
    seen, kept = outcome.best_seen, outcome.best_at_stop
    if seen is not None and seen != kept:
        parts.append(axes.dot(seen.epoch + 1, seen.value, "missed", 4))
    if kept is not None:
        parts.append(axes.dot(kept.epoch + 1, kept.value, "kept", 4))
    if stop is not None:
        parts.append(axes.upright(stop.epoch + 1, "stop" if stop.exact else "stop unsure"))
        parts.append(axes.words(f"stop {stop.epoch + 1}", stop.epoch + 1, high - 0.12 * (high - low), "stop-words"))
    told = f"stops in epoch {stop.epoch + 1}" if stop is not None else "nothing stops it"
    cuts = f", learning rate first reduced in epoch {outcome.cuts[0].epoch + 1}" if outcome.cuts else ""
    description = f"{told}{cuts}; best kept {at_epoch(kept)}, best seen {at_epoch(seen)}"
    return drawing(parts, width, height, name, description)


def frontier_chart(found: Sweep) -> str:
    """What policies save against what they lose, the frontier, and the recommended ones by name."""
    width, height = 720, 340
    saved, lost = found.part_saved, found.mean_lost
    edge = found.frontier
    recommended = found.recommendations
    # far out nothing is worth looking at
    limit = max([3 * each.on_these.lost for each in recommended] + [0.02])
    limit = min(limit, max(float(lost.max(initial=0)), 0.01))
    high = max(float(saved[lost <= limit].max(initial=0)), 0.01) * 1.08
    axes = Axes(Scale(0.0, limit, 56, width - 16), Scale(0.0, high, height - 40, 26))
    inside = np.flatnonzero(lost <= limit)
    chosen = inside[np.linspace(0, len(inside) - 1, min(len(inside), _POINTS)).astype(int)] if len(inside) else inside
    parts = [axes.frame("quality lost, part of what a run gains", "epochs saved", percent=True)]
    parts += [axes.dot(float(lost[each]), float(saved[each]), "policy", 2) for each in chosen]
    line = [(float(lost[each]), float(saved[each])) for each in edge if lost[each] <= limit]
    parts.append(axes.line(line, "frontier", steps=True))
    taken: list[float] = []
    for each in recommended:
        here = each.on_these
        parts.append(axes.dot(here.lost, here.saved, "recommended", 5))
        place = axes.y(here.saved)
        while any(abs(place - other) < _LINE for other in taken):
            place -= _LINE  # words above words, not on them
        taken.append(place)
        parts.append(axes.words(each.advice, here.lost, here.saved, "advice", up=axes.y(here.saved) - place))
    told = "; ".join(
        f"{each.advice} saves {percent(each.on_these.saved)} and loses {percent(each.on_these.lost)}"
        for each in recommended
    )
    return drawing(parts, width, height, f"What {len(found.grid):,} policies save and lose", told)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """From the lowest to the highest, without a first few that would flatten all the others."""
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
