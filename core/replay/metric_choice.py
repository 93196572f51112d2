"""The choice of the metric that is used to compare recorded runs, and of its direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from trainbus import MonitoredCallback

from ..errors import MissingMetric, SettingsError, UnknownDirection
from ..metrics.direction import direction_of
from ..metrics.names import canonical, hint, resolve
from ..terminal import shortened
from .axis import AXES
from .records import Recording, Series

_SHOWN = 50
"""The maximum number of metrics that a message lists completely."""

_NAMES_SHOWN = 5

_DEFAULT = "val_loss"


class MetricChoice(NamedTuple):
    """The chosen metric, its direction, and the reason for the choice."""

    monitor: str
    mode: Literal["min", "max"]
    why: str

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if self.mode == "max" else -1

    def name_in(self, recording: Recording) -> str | None:
        """Return the name of the metric in this recording; None if it has no such metric."""
        return resolve(self.monitor, recording.metrics)

    def series_in(self, recording: Recording) -> Series:
        """Return the values of the metric in this recording."""
        count, name = len(recording.epochs), self.name_in(recording)
        return Series(np.full(count, np.nan), np.zeros(count, np.bool_)) if name is None else recording.metrics[name]

    def is_logged_in(self, recording: Recording) -> bool:
        """Return whether this recording has at least one value of the metric."""
        name = self.name_in(recording)
        return name is not None and bool(recording.metrics[name].logged.any())


def choose_metric(
    recordings: Sequence[Recording],
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
) -> MetricChoice:
    """Choose the metric to monitor: ``monitor`` if it is given, else val_loss, else the most suitable one.

    Raises:
        SettingsError: There are no runs.
        MissingMetric: No run logs ``monitor``; or it is None, and no logged metric has a known direction.
        UnknownDirection: The direction of ``monitor`` is unknown, and ``mode`` is "auto".
    """
    if not recordings:
        raise SettingsError("there are no runs to replay")
    logged = list(dict.fromkeys(name for recording in recordings for name in recording.metrics))
    listed = ", ".join(shortened(logged, most=_SHOWN)) or "nothing"
    if monitor is not None:
        if not any(resolve(monitor, recording.metrics) for recording in recordings):
            raise MissingMetric(f"no run logs {monitor!r}{hint(monitor, logged)} logged: {listed}")
        name, why = monitor, "as requested"
    elif default := next((name for name in logged if canonical(name) == _DEFAULT), None):
        name, why = default, "the default"
    elif found := candidates(recordings):
        others = f" of {len(found)} with a known direction" if len(found) > 1 else ""
        name, why = found[0], f"the most suitable one{others}: no run logs {_DEFAULT}"
    else:
        raise MissingMetric(
            f"no logged metric has a name with a known direction; give a monitor and its mode (min or max); "
            f"logged: {listed}"
        )
    return MetricChoice(name, direction_of(name) if mode == "auto" else mode, why)


def choose_metrics(
    callback: MonitoredCallback,
    recordings: Sequence[Recording],
    monitor: str | None,
    mode: Literal["auto", "min", "max"],
) -> tuple[MetricChoice, ...]:
    """Return the metrics that the callback monitors; the most suitable one if its options name none."""
    monitored = callback.monitored()
    if monitored and monitor is not None:
        return (choose_metric(recordings, monitor, mode),)
    named = "monitor" in callback.model_fields_set or len(monitored) > 1
    return tuple(
        choose_metric(recordings, name if named else None, mode if own == "auto" else own) for name, own in monitored
    )


def choose_tie_breaker(callback: MonitoredCallback, recordings: Sequence[Recording]) -> MetricChoice | None:
    """Return the metric by which the callback breaks ties; None if it names none."""
    name: str | None = getattr(callback, "tie_breaker", None)
    if name is None:
        return None
    return choose_metric(recordings, name, getattr(callback, "tie_breaker_mode", "auto"))


def with_metrics(recordings: Sequence[Recording], choices: Sequence[MetricChoice]) -> tuple[list[Recording], list[str]]:
    """Return the runs that log all of these metrics, and notes on the other runs, and on what the runs count.

    Raises:
        MissingMetric: No run logs all of the metrics.
    """
    runs = [each for each in recordings if all(choice.is_logged_in(each) for choice in choices)]
    others = [each.name for each in recordings if not any(each is run for run in runs)]
    names = " and ".join(choice.monitor for choice in choices)
    if not runs:
        raise MissingMetric(f"no run logs {names}; runs: {', '.join(others)}")
    notes = list[str]()
    if others:
        verb, left_out = ("run does", "is") if len(others) == 1 else ("runs do", "are")
        listed = shortened_list(others)
        notes.append(f"{len(others)} {verb} not log {names} and {left_out} left out: {listed}.")
    by_steps = [each for each in runs if each.by_steps]
    if 0 < len(by_steps) < len(runs):
        loops = "a loop" if len(by_steps) == 1 else "loops"
        listed = shortened_list([each.name for each in by_steps])
        rows = " or ".join(dict.fromkeys(AXES[each.unit].row for each in by_steps))
        notes.append(f"{listed}: {loops} by steps, of which each {rows} counts as much as an epoch of the others.")
    return runs, notes


def shortened_list(names: Sequence[str]) -> str:
    """Return names as a list; of many, the first ones."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def candidates(recordings: Sequence[Recording]) -> list[str]:
    """Return the metrics whose direction is known by their names, best first.

    Metrics that more runs log come first, then validation metrics, then losses, then in the order of logging.
    """
    counts = Counter(name for recording in recordings for name in recording.metrics)
    directed = (name for name in counts if known_direction(name) is not None)
    return sorted(directed, key=lambda name: (-counts[name], *_unlikeliness(name)))


def known_direction(name: str) -> Literal["min", "max"] | None:
    """Return the direction in which a metric of this name improves; None if the name does not determine it."""
    try:
        return direction_of(name)
    except UnknownDirection:
        return None


def _unlikeliness(name: str) -> tuple[bool, bool, bool]:
    words = set(canonical(name).split("_"))
    timed = bool({"time", "second", "seconds", "sec", "ms", "speed", "throughput"} & words)
    return timed, not ({"val", "valid", "validation", "eval", "dev"} & words), "loss" not in words
