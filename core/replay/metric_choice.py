"""The choice of the metric that is used to compare recorded runs, and of its direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from shlex import quote
from typing import Literal, NamedTuple

import numpy as np

from trainbus import MonitoredCallback

from ..errors import MissingMetric, SettingsError
from ..metrics.direction import direction_of, known_direction
from ..metrics.names import canonical, hint, resolve
from ..terminal import shortened
from .axis import AXES
from .objective import Objective
from .ranking.ranking import constancy, rank
from .records import Recording, Series

_SHOWN = 50
"""The maximum number of metrics that a message lists completely."""

_NAMES_SHOWN = 5

_OTHERS = 2
"""The number of further candidates that a guess names."""

Mode = Literal["min", "max"]


class MetricChoice(NamedTuple):
    """The chosen metric, its direction, and the reason for the choice."""

    monitor: str
    mode: Mode
    why: str
    others: tuple[str, ...] = ()
    """The next candidates, if the choice is a guess."""

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if self.mode == "max" else -1

    @property
    def guess_in_words(self) -> str:
        """What is guessed, why, and how to choose another metric.

        >>> MetricChoice("val_loss", "min", "the loss on held-out data", ("val_acc", "val f1")).guess_in_words
        "the metric val_loss is a guess (the loss on held-out data); for another one: --monitor val_acc, --monitor \
'val f1'."
        """
        others = ", ".join(f"--monitor {quote(each)}" for each in self.others)
        return f"the metric {self.monitor} is a guess ({self.why}); for another one: {others}."

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
    recordings: Sequence[Recording], monitor: str | None = None, mode: Literal["auto", "min", "max"] = "auto"
) -> MetricChoice:
    """Choose the metric to monitor: ``monitor``, else the one that the files name, else the first one of ``rank``.

    Args:
        recordings: The runs.
        monitor: The metric, if it is requested.
        mode: The direction in which it improves; "auto" judges by the files or by its name.

    Raises:
        SettingsError: There are no runs.
        MissingMetric: No run logs ``monitor``; or it is None, and no logged metric has a known direction.
        UnknownDirection: The direction of ``monitor`` is unknown, and ``mode`` is "auto".
    """
    if not recordings:
        raise SettingsError("there are no runs to replay")
    objective = _named_by_files(recordings)
    if monitor is not None:
        if not any(resolve(monitor, recording.metrics) for recording in recordings):
            listed = _listed(recordings)
            raise MissingMetric(f"no run logs {monitor!r}{hint(monitor, _logged(recordings))} logged: {listed}")
        own = objective.mode if objective is not None and canonical(objective.metric) == canonical(monitor) else None
        return MetricChoice(monitor, (own or direction_of(monitor)) if mode == "auto" else mode, "as requested")
    if objective is not None:
        return MetricChoice(objective.metric, objective.mode if mode == "auto" else mode, "named by the record itself")
    return _guess(recordings, mode)


def _guess(recordings: Sequence[Recording], mode: Literal["auto", "min", "max"]) -> MetricChoice:
    """Return the metric that a practitioner would look at first, with the next ones."""
    found = list(islice(rank(recordings), 1 + _OTHERS))
    found = found or list(islice(rank(recordings, constant=True), 1))
    if not found:
        raise MissingMetric(
            "no logged metric has a name with a known direction and tells more than a speed, a time or a count; give "
            f"a monitor and its mode (min or max); logged: {_listed(recordings)}"
        )
    first, *others = found
    flaw = constancy(first.name, recordings)
    why = f"{first.why}, which {flaw}" if flaw else first.why
    return MetricChoice(first.name, first.mode if mode == "auto" else mode, why, tuple(each.name for each in others))


def _named_by_files(recordings: Sequence[Recording]) -> Objective | None:
    """Return the objective that most runs name and at least one of them logs."""
    counts = Counter(each.objective for each in recordings if each.objective and each.objective.metric in each.metrics)
    return max(counts, key=lambda each: counts[each]) if counts else None


def _logged(recordings: Sequence[Recording]) -> list[str]:
    return list(dict.fromkeys(name for recording in recordings for name in recording.metrics))


def _listed(recordings: Sequence[Recording]) -> str:
    return ", ".join(shortened(_logged(recordings), most=_SHOWN)) or "nothing"


def choose_metrics(
    callback: MonitoredCallback,
    recordings: Sequence[Recording],
    monitor: str | None,
    mode: Literal["auto", "min", "max"],
    unset: MetricChoice | None = None,
) -> tuple[MetricChoice, ...]:
    """Return the metrics that the callback monitors.

    If its options name none, it is ``unset``, else the one that the files name, else the default of the callback where
    it is logged, as in a live run, else the first one of ``rank``.

    Args:
        callback: The callback.
        recordings: The runs.
        monitor: The metric that all callbacks monitor, if it is requested.
        mode: The direction in which it improves.
        unset: The metric of a callback whose options name none.
    """
    monitored = callback.monitored()
    if monitored and monitor is not None:
        return (choose_metric(recordings, monitor, mode),)
    if "monitor" in callback.model_fields_set or len(monitored) > 1:
        return tuple(choose_metric(recordings, name, mode if own == "auto" else own) for name, own in monitored)
    if unset is not None:
        return tuple(unset if own == "auto" else unset._replace(mode=own) for _, own in monitored)
    return tuple(_default_of(name, recordings, mode if own == "auto" else own) for name, own in monitored)


def _default_of(name: str, recordings: Sequence[Recording], mode: Literal["auto", "min", "max"]) -> MetricChoice:
    logged = next((each for each in _logged(recordings) if canonical(each) == canonical(name)), None)
    if logged is None or _named_by_files(recordings) is not None:
        return choose_metric(recordings, None, mode)
    found = choose_metric(recordings, logged, mode)
    others = tuple(each.name for each in islice(rank(recordings), 1 + _OTHERS) if each.name != logged)[:_OTHERS]
    return found._replace(why="the default of the callback", others=others)


def with_monitor(callback: MonitoredCallback, choices: Sequence[MetricChoice]) -> MonitoredCallback:
    """Return the callback with the metric that it is replayed with, so that whoever reads its options knows it.

    Args:
        callback: The callback.
        choices: What ``choose_metrics`` returns for it.
    """
    if len(choices) != 1 or callback.monitored()[0][0] == choices[0].monitor:
        return callback
    monitor, mode = choices[0].monitor, choices[0].mode
    found = callback.with_option("monitor", monitor)
    return found if known_direction(monitor) == mode else found.with_option("mode", mode)


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
    names = " and ".join(dict.fromkeys(choice.monitor for choice in choices))
    if not runs:
        raise MissingMetric(f"no run logs {names}; runs: {', '.join(others)}")
    notes = list[str](dict.fromkeys(choice.guess_in_words for choice in choices if choice.others))
    if others:
        verb, left_out = ("run does", "is") if len(others) == 1 else ("runs do", "are")
        listed = shortened_list(others)
        notes.append(f"{len(others)} {verb} not log {names} and {left_out} left out: {listed}.")
    notes += filter(None, (_sparse_values(choice, runs) for choice in dict.fromkeys(choices)))
    by_steps = [each for each in runs if each.by_steps]
    if 0 < len(by_steps) < len(runs):
        loops = "a loop" if len(by_steps) == 1 else "loops"
        listed = shortened_list([each.name for each in by_steps])
        rows = " or ".join(dict.fromkeys(AXES[each.unit].row for each in by_steps))
        notes.append(f"{listed}: {loops} by steps, of which each {rows} counts as much as an epoch of the others.")
    return runs, notes


def _sparse_values(choice: MetricChoice, runs: Sequence[Recording]) -> str | None:
    """Return a note on a metric that most rows do not have; None if most have it."""
    strides: list[int] = []
    places: list[str] = []
    for run in runs:
        rows = np.flatnonzero(choice.series_in(run).logged)
        if len(rows) > 2 and np.median(np.diff(rows)) > 1:
            axis = AXES[run.unit]
            counted = run.steps if axis.by_steps and run.steps is not None else run.epochs
            strides.append(int(np.median(np.diff(counted[rows]))))
            places.append(axis.place)
    if not strides:
        return None
    some = "" if len(strides) == len(runs) else f"in {len(strides)} of {len(runs)} runs, "
    strides.sort()
    every = f"{strides[0]:,}" if strides[0] == strides[-1] else f"{strides[0]:,} to {strides[-1]:,}"
    counted_as = " or ".join(f"{place}s" for place in dict.fromkeys(places))
    return f"{some}{choice.monitor} has a value every {every} {counted_as}: patience counts its values."


def shortened_list(names: Sequence[str]) -> str:
    """Return names as a list; of many, the first ones."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
