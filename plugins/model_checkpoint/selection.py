"""Which models are saved, and which files are removed for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf, nan
from os.path import relpath
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from trainbus import Decision, Run, decision
from trainbus.decision import NOTHING, Value, join
from trainbus.metrics.monitor import Monitor
from trainbus.metrics.names import resolve
from trainbus.rules import Best, Kept, Retention, best_rule, retention_rule
from trainbus.storage.paths import Location, location

from .file_names import SavedName
from .settings import CheckpointSettings


class Scores(NamedTuple):
    """The scores of a model, higher is better."""

    score: float
    second: float = -inf
    """The score of the metric that breaks ties."""


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
        second: The metric that breaks ties; None for none.
        links: The path of the link to the newest file of each model, by its name; of one file, by an empty text.
    """

    def __init__(
        self,
        settings: CheckpointSettings,
        monitor: Monitor | None,
        second: Monitor | None = None,
        links: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.settings, self.monitor, self.second, self.links = settings, monitor, second, links
        self.ties = settings.ties == "newer"
        self.best = Best()
        if monitor is not None and settings.save_best_only:
            threshold = settings.initial_value_threshold
            first = monitor.first_score
            self.best = Best(max(first, -inf if threshold is None else monitor.sign * threshold))
            if second is not None and self.best.score == first:
                self.best = self.best._replace(second=second.first_score)
        self.best_file: Kept | None = None
        """The file of the best model, with ``save_best_only``."""
        self.kept: tuple[Kept, ...] = ()
        self.removed: tuple[Kept, ...] = ()
        """What the last save has removed."""
        self.attempts: list[SaveAttempt] = []
        """The last two: a background save may fail after the next one was decided."""

    def save_to(self, name: SavedName, **options: Any) -> Decision:
        """Return the decision to save the model to the file of a name, or to those of its models."""
        settings = self.settings
        weights_only, on_error, background = settings.save_weights_only, settings.on_error, settings.background
        return decision.save(
            name.path, weights_only=weights_only, on_error=on_error, background=background, parts=name.parts, **options
        )

    def scores_in(self, metrics: Mapping[str, Any], *, required: bool) -> Scores | None:
        """Return the scores of a model; None if it is not compared, or its metric has no value.

        Args:
            metrics: Metrics by name.
            required: Whether a metric that no epoch has logged by its end is an error.
        """

        def score_of(monitor: Monitor | None) -> float | None:
            if monitor is None or not (required or resolve(monitor.metric, metrics) is not None):
                return None
            return monitor.score(metrics)

        score, second = score_of(self.monitor), score_of(self.second)
        return None if score is None else Scores(score, -inf if second is None else second)

    def choose(self, run: Run, name: Callable[[], SavedName], scores: Scores | None) -> Decision:
        """Return the decision to save the current model and to remove files, or an empty one.

        Args:
            run: The run, whose epoch and step are the model's.
            name: Returns the name of the save; called only if the model may be saved.
            scores: The model's scores; None if unknown.
        """
        score, second = (None, -inf) if scores is None else scores
        settings, monitor, best, kept, best_file = self.settings, self.monitor, self.best, self.kept, self.best_file
        reason, rule, values = "", "", dict[str, Value]()
        if monitor is not None and settings.save_best_only:
            if score is None:
                return NOTHING
            self.best, improved = best_rule(best, score, run.epoch, second=second, ties=self.ties)
            if not improved:
                return NOTHING
            reason, rule = monitor.improvement_reason(best.score, score), best_rule.__name__
            values = monitor.journal_values(score, best.score, best.epoch)
        saved, removed = name(), tuple[str, ...]()
        file = saved.path
        if settings.save_best_only and score is not None:
            self.best_file = Kept(file, run.epoch, run.step, score, second)
        if settings.keep or settings.keep_last:
            new = Kept(file, run.epoch, run.step, nan if score is None else score, second)
            self.kept, verdict = self._retained(kept, new)
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
        self.removed = tuple(each for each in kept if each.path in removed)
        forget = self._forget(removed, values)
        links = {part: relpath(link, Path(file).parent) for part, link in self.links.items()}
        link = links if saved.parts else links.get("", "")
        return join([self.save_to(saved, link=link, reason=reason, rule=rule, values=values), forget])

    def keep_again(self, files: Iterable[Kept]) -> None:
        """Keep files that were to be removed and are still there, until the next save applies the present options."""
        known = {each.path for each in self.kept}
        self.kept = (*(each for each in files if each.path not in known), *self.kept)

    def forget_surplus(self) -> Decision:
        """Return the decision to remove the kept files that the options do not keep, if no save removes them."""
        if not self.kept or not (self.settings.keep or self.settings.keep_last):
            return NOTHING
        *others, newest = sorted(self.kept, key=lambda each: (each.epoch, each.step))
        self.kept, verdict = self._retained(tuple(others), newest)
        if not verdict.save:
            self.kept = (*self.kept, newest)
        return self._forget(verdict.forget, {})

    def _retained(self, kept: tuple[Kept, ...], new: Kept) -> tuple[tuple[Kept, ...], Retention]:
        settings = self.settings
        return retention_rule(kept, new, best=settings.keep or 0, last=settings.keep_last or 0, ties=self.ties)

    def _forget(self, paths: Iterable[str], values: Mapping[str, Value]) -> Decision:
        settings, rule = self.settings, retention_rule.__name__
        limits = [f"the {name} {n}" for name, n in (("best", settings.keep), ("last", settings.keep_last)) if n]
        why = f"no longer among {' or '.join(limits)}"
        return join(decision.forget(path, why, rule=rule, values=values) for path in paths)

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
