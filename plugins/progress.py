"""Show progress on the screen or in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from trainbus import Decision, Run, hookimpl
from trainbus.callback import Verbose
from trainbus.capabilities import HasLearningRate, has
from trainbus.decision import REQUEST, Action, Restore, Save, ScaleLearningRate, SetLearningRate, Stop
from trainbus.decision.json_format import decision_from_json
from trainbus.metrics.scalars import to_scalars
from trainbus.storage.paths import Location, location
from trainbus.terminal import encodable

_REFRESH_SECONDS = 0.2
"""Time between two redraws of the bar."""


class Progress:
    """One progress bar for the run, or a line for each epoch; and a line for each decision.

    The bar goes to standard error and needs a terminal or a notebook; without one, each epoch prints a line instead.
    Lines go to standard output. Epochs are counted from 1.

    Args:
        levels: Each plugin's name with its callback's ``verbose``; or one value for all plugins and the loop.
        bar: Whether to show a bar, or a line for each epoch. False prints decisions only, for frameworks that draw
            their own progress.
        open_line: Whether such a framework leaves its line open between two batches, as a bar does.
    """

    critical = False
    on_batch_end: Callable[..., None]  # set only with a bar, so that without one no plugin listens to batches

    def __init__(
        self, levels: Mapping[str, Verbose] | Verbose = "auto", *, bar: bool = True, open_line: bool = True
    ) -> None:
        self.levels = levels
        listed: Collection[Verbose] = levels.values() if isinstance(levels, Mapping) else [levels]
        self.requested: Collection[Verbose] = {level for level in listed if level != 0}
        self.framework_draws, self.open_line = not bar, open_line
        self.bar: _Bar | None = None
        interactive = _in_notebook() or (sys.stderr and sys.stderr.isatty())
        if bar and self.requested and 2 not in self.requested and interactive:
            self.bar = _Bar()
            self.on_batch_end = self.bar.on_batch_end
        self.epoch_start = 0.0
        self.in_epoch = False
        self.printed = Decision()
        """The decision with which a resumed run begins: it saved the checkpoint, and the earlier run has printed it."""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Print where a resumed run continues."""
        if run.resumed is not None:
            self.printed = decision_from_json(run.resumed.entry.run_state.get("decision", []))
        if run.resumed is not None and self.requested:
            state = run.resumed.entry.run_state
            epoch = "" if state.get("validate_every") else f"epoch {run.resumed.epoch + 1}, "
            self._print(f"Resumed from {run.resumed.path}: {epoch}step {run.resumed.step}")

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        """Start the epoch's clock, and draw the bar."""
        self.in_epoch, self.printed = True, Decision()
        self.epoch_start = time.monotonic()
        if self.bar is not None:
            self.bar.begin_epoch(run)

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        """Show all metrics, in the bar or in a line."""
        metrics = {**metrics, **run.state.stats}
        if self.bar is not None:
            done = run.state.plan.position(run.epoch, 1, 1, run.step)
            self.bar.draw(done, _heading(run), metrics)
        elif self.requested and not self.framework_draws:
            seconds = time.monotonic() - self.epoch_start
            self._print(" - ".join([_heading(run), f"{seconds:.1f}s", *_formatted(metrics)]))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        """Print a line for each action of a verbose plugin."""
        printed = frozenset(self.printed)
        lines = [_line(action, run) for action in decision if self._is_shown(action.by) and action not in printed]
        if any(lines):
            begin = "\n" if self.in_epoch and self.framework_draws and self.open_line else ""
            self._print(begin + "\n".join(filter(None, lines)))

    @hookimpl
    def on_train_end(self) -> None:
        """Close the bar."""
        self.in_epoch = False
        if self.bar is not None:
            self.bar.close()

    def _is_shown(self, plugin: str) -> bool:
        """Return whether to print the plugin's decisions; those of the loop are printed if any plugin is verbose."""
        if plugin == "loop" or not isinstance(self.levels, Mapping):
            return bool(self.requested)
        return bool(self.levels.get(plugin, 0))

    def _print(self, text: str) -> None:
        shown = encodable(text, sys.stdout)
        if self.bar is None or not self.bar.write(shown):
            print(shown, flush=True)


class _Bar:
    """A progress bar over the epochs or steps; batches also advance it if their number is known."""

    def __init__(self) -> None:
        self.tqdm: Any = None
        self.next_refresh = 0.0

    def begin_epoch(self, run: Run) -> None:
        """Draw the bar at the start of an epoch; the first time, create it."""
        if self.tqdm is None:
            from tqdm.auto import tqdm  # type: ignore[import-untyped] # noqa: PLC0415 - slower to import than trainbus

            total = run.state.plan.total
            # in a terminal, a bar of full width would leave no room for the metrics
            bar = "{bar}" if _in_notebook() else "{bar:20}"
            form = f"{{percentage:3.0f}}%|{bar}| {{elapsed}}<{{remaining}}" if total else "{elapsed}"
            form = f"{{desc}} {form}{{postfix}}"
            begun = run.state.plan.position(run.epoch, 0, 1, run.step)
            self.tqdm = tqdm(total=total, initial=begun, bar_format=form, dynamic_ncols=True)
        self.draw(run.state.plan.position(run.epoch, 0, 1, run.step), _heading(run))

    @hookimpl
    def on_batch_end(self, run: Run, epoch: int, batch: int, metrics: Mapping[str, Any]) -> None:
        """Advance the bar if a redraw is due; reading metrics may wait for the device."""
        if time.monotonic() >= self.next_refresh:
            planned, plan = run.state.planned_batches, run.state.plan
            done = plan.position(epoch, batch + 1, planned, run.step)
            of = f", batch {batch + 1}{f'/{planned}' if planned else ''}" if plan.unit == "epoch" else ""
            self.draw(done, f"{_heading(run)}{of}", metrics)

    def draw(self, done: float, title: str, metrics: Mapping[str, Any] | None = None) -> None:
        """Set the bar's position, title and metrics; without new metrics it still shows the previous ones."""
        self.tqdm.n = done
        self.tqdm.set_description_str(title, refresh=False)
        if metrics is not None:
            postfix = encodable(" - ".join(_formatted(metrics)), sys.stderr)
            self.tqdm.set_postfix_str(postfix, refresh=False)
        if time.monotonic() >= self.next_refresh:
            self.tqdm.refresh()
            self.next_refresh = time.monotonic() + _REFRESH_SECONDS

    def write(self, text: str) -> bool:
        """Print complete lines above the bar; return False if there is no bar yet, or no longer."""
        if self.tqdm is None:
            return False
        self.tqdm.write(text)
        sys.stdout.flush()
        return True

    def close(self) -> None:
        """Leave the bar as it is, and end its line."""
        if self.tqdm is not None:
            self.tqdm.close()
            self.tqdm = None


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _heading(run: Run) -> str:
    return run.state.plan.heading(run.epoch, run.step)


def _formatted(metrics: Mapping[str, Any]) -> list[str]:
    """Return the metrics that are single numbers, formatted as in Keras, learning rates last."""
    shown = sorted(to_scalars(metrics).items(), key=lambda item: item[0].startswith("learning_rate"))
    return [
        f"{name}: {number:.4f}" if abs(number) > 1e-3 or not number else f"{name}: {number:.4e}"
        for name, number in shown
    ]


def _shown(path: str, run: Run) -> Location:
    """Return the path, or the whole one if the loop has changed the working directory since."""
    return run.state.files.start.shown(location(path))


def _line(action: Action, run: Run) -> str | None:
    """Describe the action, similar to Keras's messages; None for actions that only prepare or clean up."""
    because = f": {action.reason}" if action.reason else ""
    match action:
        case Save(path=path, weights_only=weights_only, paths=(_, *others)):
            reason, more = f"{action.reason}, " if action.reason else "", [location(each).name for each in others]
            files = " and ".join([str(_shown(path, run)), *more])
            done = f"{reason}saving {'weights' if weights_only else 'model'} to {files}"
        case ScaleLearningRate() | SetLearningRate():
            rates = run.subject.learning_rates().values() if has(run.subject, HasLearningRate) else ()
            values = ", ".join(dict.fromkeys(f"{rate:.4g}" for rate in rates))
            verb = "setting" if isinstance(action, SetLearningRate) else "reducing"
            done = f"{action.by} {verb} learning rate to {values}{because}"
        case Restore(source=source):
            done = f"restoring the model{because or f' from {_shown(source, run)}'}"
        case Stop(by=by):
            done = f"{'interrupted' if by == REQUEST else 'early stopping'}{because}"
        case _:
            return None
    moment = run.state.plan.moment(run.epoch, run.step)
    return f"{moment[0].upper()}{moment[1:]}: {done}"
