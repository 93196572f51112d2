"""Tell a person at the screen, or in a log file, how the training goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping
from typing import Any

from trainbus import Decision, Run, hookimpl
from trainbus.callback import Verbose
from trainbus.capabilities import HasLearningRate
from trainbus.decision import REQUEST, Action, Restore, Save, ScaleLearningRate, Stop
from trainbus.metrics.scalars import to_scalars

__all__ = ["Progress"]

_REFRESH = 0.2
"""Seconds between two drawings of the bar."""


class Progress:
    """One progress bar for the whole run or a line for each epoch, and a line for each decision.

    The bar is drawn on the standard error and needs a terminal or a notebook; elsewhere its place is taken by a line
    for each epoch. Lines go to the standard output. People read epochs counted from 1.

    Args:
        levels: name of each plugin to its callback's `verbose`; without it, "auto" for all of them.
        bar: whether a bar or lines for epochs may be drawn at all; where the framework draws its own, only decisions
            are printed.
    """

    critical = False

    def __new__(cls, levels: Mapping[str, Verbose] | None = None, *, bar: bool = True) -> Progress:  # noqa: PYI034
        """Of a kind that listens to batches where a bar is drawn."""
        wanted = bar and _asked(levels) and 2 not in _asked(levels)
        visible = _in_notebook() or (sys.stderr and sys.stderr.isatty())
        return object.__new__(_Bar if wanted and visible else Progress)

    def __init__(self, levels: Mapping[str, Verbose] | None = None, *, bar: bool = True) -> None:
        self.levels = levels
        self.bar = bar
        self.counts = bar and bool(_asked(levels))
        self.began = 0.0
        self.inside = False

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """A line tells where a run that goes on from a checkpoint stands."""
        if run.resumed is not None and _asked(self.levels):
            self.say(f"Resumed from {run.resumed.path}: epoch {run.resumed.epoch + 1}, step {run.resumed.step}")

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        """The epoch's clock starts."""
        self.inside = True
        self.began = time.monotonic()

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        """One line with all metrics, where asked for."""
        if self.counts:
            self.say(" - ".join([_epoch(run), f"{time.monotonic() - self.began:.1f}s", *_told(metrics)]))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        """A line for everything that a callback who may speak asked for."""
        lines = [_line(action, run) for action in decision if self.hears(action.by)]
        if any(lines):
            # a framework that draws its own bar has left its line open
            open_line = "\n" if self.inside and not self.bar else ""
            self.say(open_line + "\n".join(filter(None, lines)))

    @hookimpl
    def on_train_end(self) -> None:
        """What follows stands outside of every epoch."""
        self.inside = False

    def hears(self, name: str) -> bool:
        """Whether what `name` decides is to be printed; the loop's own decisions are, if any are."""
        return self.levels is None or bool(_asked(self.levels) if name == "loop" else self.levels.get(name, 0))

    def say(self, text: str) -> None:
        """Print whole lines."""
        print(text, flush=True)


class _Bar(Progress):
    """Progress with a bar, whose length is the epochs; batches move it where their number is known beforehand."""

    def __init__(self, levels: Mapping[str, Verbose] | None = None, *, bar: bool = True) -> None:
        super().__init__(levels, bar=bar)
        self.drawing: Any = None
        self.next_refresh = 0.0

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        if self.drawing is None:
            from tqdm.auto import tqdm  # type: ignore[import-untyped] # noqa: PLC0415 - takes longer than the whole of trainbus

            total = run.state.planned_epochs
            # in a terminal a bar as wide as there is room would leave none for the metrics
            bar = "{bar}" if _in_notebook() else "{bar:20}"
            form = f"{{percentage:3.0f}}%|{bar}| {{elapsed}}<{{remaining}}" if total else "{elapsed}"
            form = f"{{desc}} {form}{{postfix}}"
            self.drawing = tqdm(total=total, initial=run.epoch, bar_format=form, dynamic_ncols=True)
        self.draw(run.epoch, _epoch(run))

    @hookimpl
    def on_batch_end(self, run: Run, epoch: int, batch: int, metrics: Mapping[str, Any]) -> None:
        # looking at a metric may wait for the device, so that is done as seldom as the bar is drawn
        if time.monotonic() >= self.next_refresh:
            planned = run.state.planned_batches
            done = epoch + min(1, (batch + 1) / planned) if planned else epoch
            self.draw(done, f"{_epoch(run)}, batch {batch + 1}{f'/{planned}' if planned else ''}", metrics)

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        self.draw(run.epoch + 1, _epoch(run), metrics)

    @hookimpl
    def on_train_end(self) -> None:
        super().on_train_end()
        if self.drawing is not None:
            self.drawing.close()
            self.drawing = None

    def draw(self, done: float, title: str, metrics: Mapping[str, Any] | None = None) -> None:
        """Move the bar, keeping the metrics that it shows where there are no new ones."""
        self.drawing.n = done
        self.drawing.set_description_str(title, refresh=False)
        if metrics is not None:
            self.drawing.set_postfix_str(" - ".join(_told(metrics)), refresh=False)
        if time.monotonic() >= self.next_refresh:
            self.drawing.refresh()
            self.next_refresh = time.monotonic() + _REFRESH

    def say(self, text: str) -> None:
        """Print whole lines above the bar."""
        if self.drawing is None:
            super().say(text)
        else:
            self.drawing.write(text)
            sys.stdout.flush()


def _asked(levels: Mapping[str, Verbose] | None) -> Collection[Verbose]:
    return {"auto"} if levels is None else set(levels.values()) - {0}


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _epoch(run: Run) -> str:
    return f"Epoch {run.epoch + 1}{f'/{run.state.planned_epochs}' if run.state.planned_epochs else ''}"


def _told(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that are single numbers, each as Keras prints it, learning rates last."""
    shown = sorted(to_scalars(metrics).items(), key=lambda item: item[0].startswith("learning_rate"))
    return [
        f"{name}: {number:.4f}" if abs(number) > 1e-3 or not number else f"{name}: {number:.4e}"
        for name, number in shown
    ]


def _line(action: Action, run: Run) -> str | None:
    """What was done, close to Keras's words; None for what only prepares or tidies up."""
    because = f": {action.reason}" if action.reason else ""
    match action:
        case Save(path=path, weights_only=weights_only):
            reason = f"{action.reason}, " if action.reason else ""
            done = f"{reason}saving {'weights' if weights_only else 'model'} to {path}"
        case ScaleLearningRate():
            rates = run.subject.learning_rates().values() if isinstance(run.subject, HasLearningRate) else ()
            values = ", ".join(dict.fromkeys(f"{rate:.4g}" for rate in rates))
            done = f"{action.by} reducing learning rate to {values}{because}"
        case Restore(source=source):
            done = f"restoring the model{because or f' from {source}'}"
        case Stop(by=by) if by == REQUEST:
            done = f"interrupted{because}"
        case Stop():
            done = f"early stopping{because}"
        case _:
            return None
    return f"Epoch {run.epoch + 1}: {done}"
