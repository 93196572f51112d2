"""The command ``trainbus explain``: the decisions of a run and their reasons, from its journal, with a plot."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from ..decision import REQUEST
from ..errors import JournalError, SettingsError, TrainbusError
from ..journal import (
    NAME,
    ActionRecord,
    CheckpointSaved,
    DecisionMade,
    EpochEnded,
    Event,
    EventEmitted,
    ExceptionRaised,
    FailureReported,
    HangReported,
    PluginRecord,
    RunEnded,
    RunJournal,
    RunResumed,
    RunStarted,
    StopRequested,
    read,
)
from ..metrics.best_value import BestValue
from ..metrics.names import hint, resolve
from ..resume.serialization import to_json_data
from ..settings.registry import load
from ..storage.file_kind import kind_of
from ..terminal import plot, plural, printable, shortened

_MARKS = {"★": "best", "↓": "learning rate cut", "■": "stop"}
"""The meaning of each mark in the plot; if an epoch has several marks, the plot shows the last one."""

_VERBS = {
    "scale_learning_rate": "learning rate x {factor}",
    "set_learning_rate": "learning rate set",
    "keep": "keep in memory",
    "save": "save {path}",
    "restore": "restore {source}",
    "forget": "forget {source}",
    "stop": "stop",
}
"""The text for each action and its options."""

_ROUTINE = {"save", "keep", "forget", "set_learning_rate"}
"""Actions that may repeat many times."""

_SHOWN = 3
"""The number of actions that are shown at the beginning and at the end of a series of repeated actions."""


def read_run(path: Path, number: int | None = None) -> RunJournal:
    """Return the record of a run from its journal.

    Args:
        path: A journal, or a directory that contains one at any depth.
        number: The number of the run in the journal, counted from 1; None for the last run.

    Raises:
        JournalError: There is no journal, or it is damaged.
        SettingsError: The journal has no run with this number.
    """
    journal = _find_journal(path)
    runs = read(journal)
    if number is not None and not 1 <= number <= len(runs):
        raise SettingsError(f"--run {number}: {str(journal)!r} has {plural(len(runs), 'run')}")
    return runs[-1 if number is None else number - 1]


def _find_journal(path: Path) -> Path:
    try:
        kind = kind_of(path)
    except OSError as error:
        raise JournalError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    if not kind:
        near = hint(path.name, [each.name for each in path.parent.glob("*")], otherwise="")
        raise JournalError(f"{str(path)!r}: no such file or directory{near}")
    if kind == "file":
        return path
    if kind != "directory":
        raise JournalError(f"{str(path)!r} is a {kind}; give a journal.jsonl file, or a directory that contains one")
    if kind_of(path / NAME) == "file":
        return path / NAME
    found = sorted(each for each in path.rglob(NAME) if each.is_file())
    if not found:
        raise JournalError(
            f"no {NAME} in {str(path)!r} or below; a run writes one next to its first checkpoint, or into its log_dir"
        )
    if len(found) > 1:
        some = ", ".join(repr(str(each.parent)) for each in found[:5])
        raise JournalError(
            f"{str(path)!r} has {len(found)} journals; give the path of one: {some}{', ...' * (len(found) > 5)}"
        )
    return found[0]


def as_json(run: RunJournal) -> str:
    """Return a JSON object with every valid event; numbers that are not finite are strings, as in the journal."""
    events = [json.loads(event.model_dump_json()) for event in run.events]
    return json.dumps(
        {"path": str(run.path), "run": run.introduction.run, "void": run.void, "events": events}, indent=1
    )


def explain(run: RunJournal, metric: str | None = None) -> str:
    """Return the decisions of a run and their reasons as text.

    Args:
        run: The record of the run.
        metric: The metric to plot; None for the one that caused most decisions.

    Raises:
        SettingsError: The run has no such metric.
    """
    parts = ["\n".join(_introduction(run.events[0])), *_plots(run, metric), "\n".join(_events(run)), _ending(run)]
    return "\n\n".join(part for part in parts if part)


def _introduction(event: Event) -> Iterator[str]:
    assert isinstance(event, (RunStarted, RunResumed))
    planned = "" if event.planned_epochs is None else f", {event.planned_epochs} epochs planned"
    if event.validate_every is not None:
        steps = "steps" if event.planned_steps is None else plural(event.planned_steps, "step")
        planned = f", {steps} planned, with a validation every {event.validate_every:,}"
    host = event.environment.get("host")
    yield printable(
        f"{event.subject or 'a loop without a subject'}{f' on {host}' if host else ''}, {_clock(event)}{planned}"
    )
    for name, listed in event.callbacks.items():
        given = _changed_settings(listed)
        if listed.callback or given:
            yield printable(f"  {name}{': ' if given else ''}{', '.join(f'{n}={v!r}' for n, v in given.items())}")


def _changed_settings(listed: PluginRecord) -> Mapping[str, Any]:
    """Return the settings that differ from their defaults."""
    try:
        fields = load("callbacks", listed.callback).model_fields
    except (TrainbusError, AttributeError):  # the callback is not installed here
        return listed.settings
    defaults = {name: to_json_data(field.default) for name, field in fields.items() if not field.is_required()}
    return {name: value for name, value in listed.settings.items() if value != defaults.get(name)}


def _plots(run: RunJournal, metric: str | None) -> Iterator[str]:
    logged = list(dict.fromkeys(name for each in run.epochs for name in each.metrics))
    if metric is not None and resolve(metric, logged) is None:
        near = hint(metric, logged)
        raise SettingsError(f"--metric {metric!r} is not in this run{near} logged: {', '.join(logged) or 'nothing'}")
    # a learning rate is plotted only if there is nothing else
    shown = sorted(logged, key=lambda each: each.split("/")[0] == "learning_rate")
    name = resolve(metric or _main_metric(run), logged) or next(iter(shown), None)
    if name is None:
        return
    # the axis counts from 1
    steps = {each.epoch: each.step - 1 if run.by_steps else each.epoch for each in run.epochs}
    values = {steps[each.epoch]: each.metrics[name] for each in run.epochs if name in each.metrics}
    decided = ((steps.get(each.epoch, each.epoch), each) for each in run.decisions)
    kinds = [(at, action.kind) for at, each in decided for action in each.actions]
    found = [] if run.end is None or name not in run.end.best else [run.end.best[name].epoch]
    best = [steps.get(epoch, epoch) for epoch in found]
    marks = dict.fromkeys(best, "★")
    marks |= {epoch: "↓" for epoch, kind in kinds if kind == "scale_learning_rate"}
    marks |= {epoch: "■" for epoch, kind in kinds if kind == "stop"}
    lines = plot(values, marks, width=min(shutil.get_terminal_size().columns, 100))
    if lines:
        legend = [f"{mark} {meaning}" for mark, meaning in _MARKS.items() if mark in marks.values()]
        yield "\n".join([printable(name), *lines, *(["  ".join(legend)] if legend else [])])


def _main_metric(run: RunJournal) -> str:
    """Return the metric that caused most decisions, else one that is monitored."""
    seen = Counter(str(action.values.get("metric", "")) for each in run.decisions for action in each.actions)
    monitored = [str(each.settings["monitor"]) for each in run.callbacks.values() if "monitor" in each.settings]
    del seen[""]
    return next(iter([*(name for name, _ in seen.most_common(1)), *monitored]), "val_loss")


def _events(run: RunJournal) -> Iterator[str]:
    shown = [
        event for event in run.events if not isinstance(event, (RunStarted, EpochEnded, CheckpointSaved, RunEnded))
    ]
    for routine, group in groupby(shown, key=_routine):
        lines = [line for event in group for line in _lines(event, by_steps=run.by_steps)]
        if routine and len(lines) > 3 * _SHOWN:
            lines[_SHOWN:-_SHOWN] = [f"... and {len(lines) - 2 * _SHOWN} more of these"]
        yield from lines


def _routine(event: Event) -> frozenset[tuple[str, str]]:
    """Return the repeatable actions of an event and their plugins; empty if the event always gets a line."""
    if isinstance(event, EventEmitted):
        return frozenset([("emitted", event.name)])
    actions = event.actions if isinstance(event, DecisionMade) else ()
    return frozenset((each.kind, each.by) for each in actions if {each.kind for each in actions} <= _ROUTINE)


def _lines(event: Event, *, by_steps: bool) -> Iterator[str]:
    match event:
        case DecisionMade():
            where = _moment(event, by_steps=by_steps)
            shown = (action for action in event.actions if action.rule != REQUEST)
            for reason, actions in groupby(shown, key=lambda action: action.reason):
                done = ", ".join(f"{_verb(action, event)} ({action.by})" for action in actions)
                yield printable(": ".join(filter(None, [where, reason, done])))
        case EventEmitted():
            values = ", ".join(f"{name}={value}" for name, value in event.values.items())
            where = _moment(event, by_steps=by_steps)
            yield printable(f"{where}: {event.name} ({event.count}){values and f': {values}'}")
        case RunResumed():
            done = plural(event.step, "step") if by_steps else plural(event.epochs, "epoch")
            yield printable(f"resumed from {event.checkpoint} after {done}, {_clock(event)}")
        case FailureReported():
            where = f"{event.plugin}{f' in {event.hook}' if event.hook else ''}"
            yield printable(f"{where}: {event.lost}: {event.error}" if event.lost else f"{where} failed: {event.error}")
        case ExceptionRaised():
            yield printable(f"{_moment(event, by_steps=by_steps)}: {event.error}")
        case HangReported():
            yield printable(f"{event.reason}, {_clock(event)}")
        case StopRequested():
            where = _moment(event, by_steps=by_steps)
            yield printable(f"{where}: {event.name} ended the run after {plural(event.step, 'step')}")
        case _:
            return


def _moment(event: DecisionMade | EventEmitted | ExceptionRaised | StopRequested, *, by_steps: bool) -> str:
    return f"step {event.step}" if by_steps else f"epoch {event.epoch + 1}"


def _verb(action: ActionRecord, event: DecisionMade) -> str:
    rates = ", ".join(dict.fromkeys(f"{rate:.4g}" for rate in (event.learning_rates or {}).values()))
    words = _VERBS[action.kind].format_map(defaultdict(lambda: None, action.options))
    return f"{words} = {rates}" if rates and action.kind in ("scale_learning_rate", "set_learning_rate") else words


def _ending(run: RunJournal) -> str:
    end, epochs, unit = run.end, len(run.epochs), "validation" if run.by_steps else "epoch"
    if end is None:
        last = run.events[-1]
        return (
            f"{plural(epochs, unit)}; no end recorded: the run is still training or was killed; last "
            f"event at {_clock(last)}"
        )
    done = f"{plural(end.step, 'step')}, {plural(end.epochs, unit)}" if run.by_steps else plural(end.epochs, unit)
    lines = [f"{done} in {_duration(end.seconds)}, {end.outcome}: {end.reason}"]
    best_of = {name: BestValue(best.value, best.epoch, best.step) for name, best in end.best.items()}
    lines += [f"best {name}: {best.value:.5g} {best.where}" for name, best in best_of.items()]
    lines += shortened([f"checkpoint: {path}" for path in end.checkpoints])
    return "\n".join(map(printable, lines))


def _clock(event: Event) -> str:
    try:
        return datetime.fromtimestamp(event.time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # the time is out of range
        return f"{event.time:g} s after 1970"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
