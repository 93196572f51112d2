"""Recorded runs replayed under a list of callbacks: what those would have decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from trainbus.plugins import EarlyStopping, ModelCheckpoint

from ..callback import Callback, MonitoredCallback
from ..engine.plugin_list import CallbackLike, as_list
from ..errors import MissingMetric, SettingsError
from ..metrics.monitor import BestValue
from ..metrics.names import first_free
from ..rules import Best, best_rule
from ..settings.registry import callbacks_from
from .curves import Curves, curves_of
from .decisions import add_cuts, add_stops, in_order, save_decisions
from .library_settings import Library, LibraryName, in_words_of, library
from .metric_choice import Choice, choose
from .outcome import Decided, Outcome
from .rates import rates_of
from .records import Recording
from .saves import in_epochs, saves

__all__ = ["Replay", "replay", "with_metrics"]

_SHOWN = 5


@dataclass(frozen=True)
class Replay:
    """What a list of callbacks would have decided on recorded runs."""

    callbacks: tuple[Callback, ...]
    """Those that were replayed, in the words of the library by whose rules they were."""
    library: LibraryName
    choice: Choice
    """The metric that decides, and why; of several callbacks that monitor different ones, that of the first."""
    outcomes: tuple[Outcome, ...]
    """One for each run, in the order in which the runs were given."""
    notes: tuple[str, ...] = ()
    """What was left out or cannot be known, a sentence each."""

    @property
    def epochs(self) -> int:
        """Recorded epochs of all runs."""
        return sum(each.epochs for each in self.outcomes)

    @property
    def epochs_saved(self) -> int:
        """Epochs after the stops, of all runs."""
        return sum(each.epochs_saved for each in self.outcomes)

    @property
    def seconds(self) -> float | None:
        """Seconds from first to last recorded epoch, of the runs that tell; None where none does."""
        told = [each.seconds for each in self.outcomes if each.seconds is not None]
        return sum(told) if told else None

    @property
    def seconds_saved(self) -> float | None:
        """Seconds after the stops, of the runs that tell; None where none does."""
        told = [each.seconds_saved for each in self.outcomes if each.seconds_saved is not None]
        return sum(told) if told else None

    @property
    def lost(self) -> tuple[float, float]:
        """How much quality is lost, on average and at worst, of the runs that have any to lose."""
        told = [each.lost for each in self.outcomes if each.lost is not None]
        return (float(np.mean(told)), max(told)) if told else (0.0, 0.0)

    @property
    def censored(self) -> int:
        """How many runs nothing stops up to their last recorded epoch."""
        return sum(each.censored for each in self.outcomes)

    def as_data(self) -> dict[str, Any]:
        """As plain data for machines; epochs count from 0."""
        mean, worst = self.lost
        return {
            "library": self.library,
            "monitor": self.choice.monitor,
            "mode": self.choice.mode,
            "why": self.choice.why,
            "callbacks": [each.settings() for each in self.callbacks],
            "runs": [each.as_data() for each in self.outcomes],
            "total": {
                "runs": len(self.outcomes),
                "censored": self.censored,
                "epochs": self.epochs,
                "epochs_saved": self.epochs_saved,
                "seconds": self.seconds,
                "seconds_saved": self.seconds_saved,
                "quality_lost_mean": mean,
                "quality_lost_worst": worst,
            },
            "notes": list(self.notes),
        }

    def as_rows(self) -> list[dict[str, Any]]:
        """A line for each run, for tables that machines read."""
        return [each.as_row() for each in self.outcomes]


def replay(
    recordings: Sequence[Recording],
    callbacks: CallbackLike | Sequence[CallbackLike],
    *,
    by: str = "trainbus",
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
) -> Replay:
    """What these callbacks would have decided on these runs.

    Stops and checkpoints are exact up to the last recorded epoch; a run that nothing stops by then is `censored`. Of
    the reductions of a learning rate the first is exact; what comes after one that the record does not show is not.

    Args:
        recordings: the runs.
        callbacks: callbacks, or their settings as plain data. Those that decide nothing are left out.
        by: by whose rules: "trainbus", "keras", "torch", "lightning" or "ignite". Options that were not given are that
            library's defaults.
        monitor: the metric that decides, whatever the callbacks name. Without it each callback's own, and for those
            that name none val_loss, or else the best candidate that is logged.
        mode: which way `monitor` improves; "auto" judges by its name.

    Raises:
        SettingsError: there are no runs, or no callback decides; or an option is wrong, or none of the library's.
        MissingMetric: no run logs the metric.
        UnknownDirection: its name does not tell which way it improves.

    >>> from trainbus.replay import Series
    >>> loss = np.array([3.0, 2.0, 2.5, 2.2, 1.0])
    >>> run = Recording("a", np.arange(5), {"loss": Series(loss, np.isfinite(loss))})
    >>> result = replay([run], EarlyStopping(patience=2))
    >>> result.outcomes[0].stop, result.outcomes[0].lost
    (Decided(epoch=3, by='EarlyStopping', action='stop', of=3, exact=True), 1.0)
    >>> replay([run], EarlyStopping(patience=3)).outcomes[0].censored
    True
    """
    whose = library(by)
    named = dict(_named(callbacks, whose))
    deciders = {name: each for name, each in named.items() if isinstance(each, _kinds(whose))}
    if not deciders:
        raise SettingsError("no callback decides; give an EarlyStopping, a ModelCheckpoint or a ReduceLROnPlateau")
    choices = {name: _choice(each, recordings, monitor, mode) for name, each in deciders.items()}
    first = next((choice for choice in choices.values() if choice), None) or choose(recordings, monitor, mode)
    wanted = list(dict.fromkeys([first, *filter(None, choices.values())]))
    runs, left_out = with_metrics(recordings, wanted)
    decided: list[list[Decided]] = [[] for _ in runs]
    curves = {choice: curves_of(runs, choice) for choice in wanted}
    stops = np.full(len(runs), np.iinfo(np.int64).max)
    for name, callback in deciders.items():
        choice = choices[name]
        if isinstance(callback, whose.stops.settings) and choice is not None:
            stops = np.minimum(stops, add_stops(name, callback, curves[choice], whose, decided))
    for name, callback in deciders.items():
        choice = choices[name]
        if isinstance(callback, whose.plateaus.settings) and choice is not None:
            add_cuts(name, callback, curves[choice], whose, rates_of(runs, curves[choice]), decided)
    kept: list[set[int]] = [set() for _ in runs]
    for name, callback in deciders.items():
        if isinstance(callback, ModelCheckpoint) and in_epochs(callback):
            for row, run in enumerate(runs):
                saved, held = saves(callback, run, choices[name], int(stops[row]))
                decided[row] += save_decisions(name, saved)
                kept[row].update(held)
    outcomes = _outcomes(runs, curves[first], stops, decided, kept)
    notes = (*left_out, *_unknown(named, deciders, whose))
    return Replay(tuple(named.values()), whose.name, first, tuple(outcomes), notes)


def _kinds(whose: Library) -> tuple[type[MonitoredCallback], ...]:
    return whose.stops.settings, whose.plateaus.settings, ModelCheckpoint


def _named(callbacks: CallbackLike | Sequence[CallbackLike], whose: Library) -> Iterator[tuple[str, Callback]]:
    """Each callback by the name that a run gives it, in the words of the library."""
    taken: set[str] = set()
    usual: dict[type[Callback], str] = {
        whose.stops.settings: "EarlyStopping",
        whose.plateaus.settings: "ReduceLROnPlateau",
    }
    for item in as_list(callbacks):
        made = callbacks_from([cast("Mapping[str, Any]", item)])[0] if isinstance(item, Mapping) else item
        if not isinstance(made, Callback):
            raise SettingsError(f"{made!r} is no callback; only callbacks of trainbus, or their settings, are replayed")
        callback = in_words_of(whose, made)
        name = first_free(usual.get(type(callback), type(callback).__name__), taken)
        taken.add(name)
        yield name, callback


def _choice(
    callback: MonitoredCallback,
    recordings: Sequence[Recording],
    monitor: str | None,
    mode: Literal["auto", "min", "max"],
) -> Choice | None:
    """The metric that the callback watches, None where it watches none."""
    if not callback.monitors():
        return None
    if monitor is not None:
        return choose(recordings, monitor, mode)
    named = callback.monitor if "monitor" in callback.model_fields_set else None
    return choose(recordings, named, mode if callback.mode == "auto" else callback.mode)


def with_metrics(recordings: Sequence[Recording], choices: Sequence[Choice]) -> tuple[list[Recording], list[str]]:
    """The runs that log every one of these metrics, and a sentence on the others."""

    def logs(recording: Recording, choice: Choice) -> bool:
        name = choice.name_in(recording)
        return name is not None and bool(recording.metrics[name].logged.any())

    runs = [each for each in recordings if all(logs(each, choice) for choice in choices)]
    others = [each.name for each in recordings if not any(each is run for run in runs)]
    names = " and ".join(choice.monitor for choice in choices)
    if not runs:
        raise MissingMetric(f"no run logs {names}; runs: {', '.join(others)}")
    if not others:
        return runs, []
    listed = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
    verb = "run does" if len(others) == 1 else "runs do"
    return runs, [f"{len(others)} {verb} not log {names} and {'is' if len(others) == 1 else 'are'} left out: {listed}."]


def _outcomes(
    runs: Sequence[Recording],
    curves: Curves,
    stops: NDArray[np.int64],
    decided: Sequence[Sequence[Decided]],
    kept: Sequence[set[int]],
) -> Iterator[Outcome]:
    for row, run in enumerate(runs):
        stop = int(stops[row])
        seen = curves.epochs[row, : curves.lengths[row]]
        until = int(np.searchsorted(seen, stop, side="right"))
        scores = curves.scores[row]
        moment = curves.times[row, until - 1] if stop <= curves.last[row] else curves.end[row]
        yield Outcome(
            run.name,
            first_epoch=int(curves.first[row]),
            last_epoch=int(curves.last[row]),
            decisions=in_order(decided[row], stop),
            best_seen=_best(scores[: len(seen)], seen, curves.sign),
            best_at_stop=_best(scores[:until], seen, curves.sign),
            kept=tuple(sorted(kept[row])),
            seconds=_known(curves.end[row] - curves.begin[row]),
            seconds_saved=_known(curves.end[row] - moment),
        )


def _best(scores: NDArray[np.float64], epochs: NDArray[np.int64], sign: int) -> BestValue | None:
    """The best of these values and its epoch, by the rule that a live run's monitor steps."""
    best = Best()
    for score, epoch in zip(scores.tolist(), epochs.tolist(), strict=False):
        best, _ = best_rule(best, score, epoch)
    return BestValue(sign * best.score, best.epoch) if best.epoch >= 0 else None


def _known(seconds: Any) -> float | None:
    return None if np.isnan(seconds) else float(seconds)


def _unknown(named: Mapping[str, Callback], deciders: Mapping[str, MonitoredCallback], whose: Library) -> Iterator[str]:
    """What cannot be known of what was asked for."""
    others = [name for name in named if name not in deciders]
    if others:
        yield f"Not replayed, since only early stopping, checkpoints and plateaus are: {', '.join(others)}."
    for name, callback in deciders.items():
        if isinstance(callback, ModelCheckpoint) and not in_epochs(callback):
            yield f"{name}: save_freq={callback.save_freq!r} saves inside epochs, which a value an epoch cannot tell."
    if whose.name != "trainbus" and any(isinstance(each, ModelCheckpoint) for each in deciders.values()):
        yield "Checkpoints are trainbus's own, whatever library the stops are of."
    if any(isinstance(each, EarlyStopping) for each in deciders.values()) or whose.name != "torch":
        yield from whose.notes
