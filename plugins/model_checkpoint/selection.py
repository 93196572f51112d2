"""Which models are saved, and which files are removed for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, nan
from os.path import relpath
from pathlib import Path
from typing import NamedTuple

from trainbus import Decision, Run, decision
from trainbus.decision import NOTHING, Value, join
from trainbus.metrics.monitor import Monitor
from trainbus.rules import Best, Kept, best_rule, retention_rule
from trainbus.storage.paths import Location, location

from .settings import CheckpointSettings


class SaveAttempt(NamedTuple):
    """A model that was selected, and the state of the selection before it."""

    path: str
    epoch: int
    step: int
    best: Best
    best_file: Kept | None
    kept: tuple[Kept, ...]


class Selection:
    """Applies ``save_best_only``, ``keep`` and ``keep_last`` to each model.

    Args:
        settings: The options of the callback.
        monitor: The metric by which models are compared; None if they are not compared.
        link: The path of the link to the newest file; empty for none.
    """

    def __init__(self, settings: CheckpointSettings, monitor: Monitor | None, link: str = "") -> None:
        self.settings, self.monitor, self.link = settings, monitor, link
        weights_only, on_error, background = settings.save_weights_only, settings.on_error, settings.background
        self.save_to = partial(decision.save, weights_only=weights_only, on_error=on_error, background=background)
        """Returns the decision to save the model to a path."""
        self.best = Best()
        if monitor is not None and settings.save_best_only:
            threshold = settings.initial_value_threshold
            self.best = Best(max(monitor.first_score, -inf if threshold is None else monitor.sign * threshold))
        self.best_file: Kept | None = None
        """The file of the best model, with ``save_best_only``."""
        self.kept: tuple[Kept, ...] = ()
        self.attempts: list[SaveAttempt] = []
        """The last two: a background save may fail after the next one was decided."""

    def choose(self, run: Run, path: Callable[[], str], score: float | None) -> Decision:
        """Return the decision to save the current model and to remove files, or an empty one.

        Args:
            run: The run, whose epoch and step are the model's.
            path: Returns the path of the model; called only if the model may be saved.
            score: The model's score, higher is better; None if unknown.
        """
        settings, monitor, best, kept, best_file = self.settings, self.monitor, self.best, self.kept, self.best_file
        reason, rule, values = "", "", dict[str, Value]()
        if monitor is not None and settings.save_best_only:
            if score is None:
                return NOTHING
            self.best, improved = best_rule(best, score, run.epoch)
            if not improved:
                return NOTHING
            reason, rule = monitor.improvement_reason(best.score, score), best_rule.__name__
            values = monitor.journal_values(score, best.score, best.epoch)
        file, removed = path(), tuple[str, ...]()
        if settings.save_best_only and score is not None:
            self.best_file = Kept(file, run.epoch, run.step, score)
        if settings.keep or settings.keep_last:
            new = Kept(file, run.epoch, run.step, nan if score is None else score)
            self.kept, verdict = retention_rule(kept, new, best=settings.keep or 0, last=settings.keep_last or 0)
            if not verdict.save:
                return NOTHING
            if monitor is not None:
                if verdict.among_best and not reason:
                    rank = f"among the best {settings.keep}" if settings.keep != 1 else "the best"
                    reason = f"{monitor.metric} of {monitor.sign * new.score:.5f} is {rank}"
                values = monitor.journal_values(score, best.score, best.epoch)
            rule, removed = retention_rule.__name__, verdict.forget
            values |= {"keep": settings.keep, "keep_last": settings.keep_last, "kept": len(self.kept)}
        self.attempts = [*self.attempts[-1:], SaveAttempt(file, run.epoch, run.step, best, best_file, kept)]
        limits = [f"the {name} {n}" for name, n in (("best", settings.keep), ("last", settings.keep_last)) if n]
        why = f"no longer among {' or '.join(limits)}"
        forget = (decision.forget(old, why, rule=rule, values=values) for old in removed)
        link = relpath(self.link, Path(file).parent) if self.link else ""
        return join([self.save_to(file, link=link, reason=reason, rule=rule, values=values), *forget])

    def why_none(self) -> str:
        """Return in words why no model was selected by its metric; empty if no metric selects."""
        settings, monitor = self.settings, self.monitor
        if monitor is None:
            return ""
        limit = settings.initial_value_threshold if settings.save_best_only else None
        better = "" if limit is None else f" better than initial_value_threshold={limit}"
        if settings.save_best_only and monitor.first_score > -inf:
            better += f"{' and' if better else ''} better than the best value in start="
        return f"no {monitor.metric} was a finite number{better}"

    def undo(self, run: Run, path: Location, step: int, last: Location) -> None:
        """Undo the selection of a model that could not be written, so that the next better one is saved.

        Args:
            run: The run, which lists the checkpoints on the disk.
            path: The file that could not be written.
            step: The step of that model.
            last: The file "last", to which the same model is written.
        """
        written = {(each.path, each.epoch, each.step) for each in run.state.checkpoints}
        for index, attempt in enumerate(self.attempts):
            selected = path == location(attempt.path)
            if step != attempt.step or not (selected or path == last) or (path, attempt.epoch, step) in written:
                continue
            later = self.attempts[index + 1 :]
            if selected:
                later = [each._replace(best=attempt.best, best_file=attempt.best_file) for each in later]
                if not later:
                    self.best, self.best_file = attempt.best, attempt.best_file
            # the files that it was to replace are still there, as are those that later ones were to replace
            kept = attempt.kept
            for place, each in enumerate(later):
                kept = _merge(kept, each.kept, path, step)
                later[place] = each._replace(kept=kept)
            self.kept = _merge(kept, self.kept, path, step)
            self.attempts = later if selected else [attempt, *later]
            return


def _merge(before: tuple[Kept, ...], after: tuple[Kept, ...], path: Location, step: int) -> tuple[Kept, ...]:
    """Return the files of both, except the one that was not written; if two have the same path, the later one."""
    both = [each for each in (*before, *after) if (location(each.path), each.step) != (path, step)]
    return tuple({each.path: each for each in both}.values())
