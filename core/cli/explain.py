"""The story of a run in words, from its journal, with a plot of the metric that decided."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import JournalError, SettingsError, TrainbusError
from ..journal import (
    NAME,
    ActionRecord,
    CheckpointSaved,
    DecisionMade,
    EpochEnded,
    Event,
    ExceptionRaised,
    FailureReported,
    PluginRecord,
    RunEnded,
    RunJournal,
    RunResumed,
    RunStarted,
    StopRequested,
    read,
)
from ..metrics.names import hint, resolve
from ..resume.serialization import to_json_data
from ..settings.registry import load
from .terminal import plot, printable

__all__ = ["as_json", "explain", "story_at"]

MARKS = {"★": "best", "↓": "learning rate cut", "■": "stop"}
"""What marks an epoch in the plot to what that means; of several the last one is shown."""

ROUTINE = {"save", "keep", "forget"}
"""Actions that may happen over and over."""

MANY = 3
"""Of saves in a row, so many are told from the first on, and so many until the last."""


def story_at(path: Path, number: int | None = None) -> RunJournal:
    """The story of a run.

    Args:
        path: a journal, or a directory with one in it, or below it.
        number: of the run, counted from 1, where the journal holds several; None for the last.

    Raises:
        JournalError: no journal is there, or it is damaged.
        SettingsError: it has no run of this number.
    """
    journal = _found(path)
    stories = read(journal)
    if number is not None and not 1 <= number <= len(stories):
        raise SettingsError(f"--run {number}: {str(journal)!r} holds {len(stories)} run{'s' * (len(stories) != 1)}")
    return stories[-1 if number is None else number - 1]


def _found(path: Path) -> Path:
    if not path.is_dir():
        if not path.exists():
            near = hint(path.name, [each.name for each in path.parent.glob("*")], otherwise="")
            raise JournalError(f"{str(path)!r}: no such file or directory{near}")
        return path
    if (path / NAME).exists():
        return path / NAME
    found = sorted(path.rglob(NAME))
    if not found:
        raise JournalError(
            f"no {NAME} in {str(path)!r} or below: a run keeps one beside its first checkpoint, or in its log_dir"
        )
    if len(found) > 1:
        some = ", ".join(repr(str(each.parent)) for each in found[:5])
        raise JournalError(
            f"{str(path)!r} has {len(found)} journals below it; name one: {some}{', ...' * (len(found) > 5)}"
        )
    return found[0]


def as_json(story: RunJournal) -> str:
    """An object with every event that holds; numbers that are not finite are texts, as in the journal."""
    events = [json.loads(event.model_dump_json()) for event in story.events]
    return json.dumps(
        {"path": str(story.path), "run": story.introduction.run, "void": story.void, "events": events}, indent=1
    )


def explain(story: RunJournal, metric: str | None = None) -> str:
    """The story in words.

    Args:
        story: to be told.
        metric: what the plot shows; None for what decided most.

    Raises:
        SettingsError: the run has no such metric.
    """
    parts = ["\n".join(_introduced(story.events[0])), *_plotted(story, metric), "\n".join(_told(story)), _ended(story)]
    return "\n\n".join(part for part in parts if part)


def _introduced(event: Event) -> Iterator[str]:
    assert isinstance(event, (RunStarted, RunResumed))
    planned = "" if event.planned_epochs is None else f", {event.planned_epochs} epochs planned"
    host = event.environment.get("host")
    yield printable(f"{event.subject or 'a loop of numbers'}{f' on {host}' if host else ''}, {_clock(event)}{planned}")
    for name, listed in event.callbacks.items():
        given = _given(listed)
        if listed.callback or given:
            yield printable(f"  {name}{': ' if given else ''}{', '.join(f'{n}={v!r}' for n, v in given.items())}")


def _given(listed: PluginRecord) -> Mapping[str, Any]:
    """The settings that are not what they are by themselves."""
    try:
        fields = load("callbacks", listed.callback).model_fields
    except (TrainbusError, AttributeError):  # one that is not installed here
        return listed.settings
    defaults = {name: to_json_data(field.default) for name, field in fields.items() if not field.is_required()}
    return {name: value for name, value in listed.settings.items() if value != defaults.get(name)}


def _plotted(story: RunJournal, metric: str | None) -> Iterator[str]:
    logged = list(dict.fromkeys(name for each in story.epochs for name in each.metrics))
    if metric is not None and resolve(metric, logged) is None:
        near = hint(metric, logged)
        raise SettingsError(f"--metric {metric!r} is not in this run{near} logged: {', '.join(logged) or 'nothing'}")
    shown = sorted(logged, key=lambda each: each.split("/")[0] == "learning_rate")  # only where there is nothing else
    name = resolve(metric or _decisive(story), logged) or next(iter(shown), None)
    if name is None:
        return
    values = {each.epoch: each.metrics[name] for each in story.epochs if name in each.metrics}
    kinds = [(each.epoch, action.kind) for each in story.decisions for action in each.actions]
    best = [] if story.end is None or name not in story.end.best else [story.end.best[name].epoch]
    marks = dict.fromkeys(best, "★")
    marks |= {epoch: "↓" for epoch, kind in kinds if kind == "scale_learning_rate"}
    marks |= {epoch: "■" for epoch, kind in kinds if kind == "stop"}
    lines = plot(values, marks, width=min(shutil.get_terminal_size().columns, 100))
    if lines:
        legend = [f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in marks.values()]
        yield "\n".join([printable(name), *lines, *(["  ".join(legend)] if legend else [])])


def _decisive(story: RunJournal) -> str:
    """The metric that decided most, else one that is monitored."""
    seen = Counter(str(action.values.get("metric", "")) for each in story.decisions for action in each.actions)
    monitored = [str(each.settings["monitor"]) for each in story.callbacks.values() if "monitor" in each.settings]
    del seen[""]
    return next(iter([*(name for name, _ in seen.most_common(1)), *monitored]), "val_loss")


def _told(story: RunJournal) -> Iterator[str]:
    heard = [
        event for event in story.events if not isinstance(event, (RunStarted, EpochEnded, CheckpointSaved, RunEnded))
    ]
    for routine, group in groupby(heard, key=_routine):
        lines = [line for event in group for line in _lines(event)]
        if routine and len(lines) > 3 * MANY:
            lines[MANY:-MANY] = [f"... and {len(lines) - 2 * MANY} more of these"]
        yield from lines


def _routine(event: Event) -> frozenset[tuple[str, str]]:
    """Who did what, where that is done over and over; empty where the event is worth a line in any case."""
    actions = event.actions if isinstance(event, DecisionMade) else ()
    return frozenset((each.kind, each.by) for each in actions if {each.kind for each in actions} <= ROUTINE)


def _lines(event: Event) -> Iterator[str]:
    match event:
        case DecisionMade():
            where = f"epoch {event.epoch + 1}"
            for reason, actions in groupby(event.actions, key=lambda action: action.reason):
                done = ", ".join(f"{_verb(action, event)} ({action.by})" for action in actions)
                yield printable(": ".join(filter(None, [where, reason, done])))
        case RunResumed():
            yield printable(f"resumed from {event.checkpoint} after {_count(event.epochs)}, {_clock(event)}")
        case FailureReported():
            where = f"{event.plugin}{f' in {event.hook}' if event.hook else ''}"
            yield printable(f"{where}: {event.lost}: {event.error}" if event.lost else f"{where} failed: {event.error}")
        case ExceptionRaised():
            yield printable(f"epoch {event.epoch + 1}: {event.error}")
        case StopRequested():
            yield printable(f"epoch {event.epoch + 1}: {event.name} ended it here, after {event.step} steps")
        case _:
            return


def _verb(action: ActionRecord, event: DecisionMade) -> str:
    options = action.options
    match action.kind:
        case "scale_learning_rate":
            rates = ", ".join(dict.fromkeys(f"{rate:.4g}" for rate in (event.learning_rates or {}).values()))
            return f"learning rate x {options.get('factor')}{f' = {rates}' if rates else ''}"
        case "keep":
            return "keep it in memory"
        case "save":
            return f"save {options.get('path')}"
        case "restore":
            return f"restore {options.get('source')}"
        case "forget":
            return f"forget {options.get('source')}"
        case "stop":
            return "stop"


def _ended(story: RunJournal) -> str:
    end, epochs = story.end, len(story.epochs)
    if end is None:
        last = story.events[-1]
        return f"{_count(epochs)}; no end: it goes on still, or was killed; last heard of {_clock(last)}"
    lines = [f"{_count(end.epochs)} in {_duration(end.seconds)}, {end.outcome}: {end.reason}"]
    lines += [f"best {name}: {best.value:.5g} in epoch {best.epoch + 1}" for name, best in end.best.items()]
    lines += [f"checkpoint: {path}" for path in end.checkpoints]
    return "\n".join(map(printable, lines))


def _count(epochs: int) -> str:
    return f"{epochs} epoch{'s' * (epochs != 1)}"


def _clock(event: Event) -> str:
    try:
        return datetime.fromtimestamp(event.time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # no time that a calendar has
        return f"{event.time:g} s after 1970"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
