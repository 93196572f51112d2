"""What listens for ModelCheckpoint: at epochs or at batches, it decides what to save and what to forget."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

from trainbus import Decision, MissingMetric, Run, decision, hookimpl
from trainbus.capabilities import Saveable
from trainbus.checkpoints.filename_template import render, sibling_path, template_fields
from trainbus.decision import NOTHING, Value, join
from trainbus.metrics.names import resolve
from trainbus.rules import Best, Kept, best_rule, retention_rule
from trainbus.storage.backend import existing
from trainbus.storage.paths import Location, location

from .schedule import BatchSchedule, Frequency

if TYPE_CHECKING:
    from . import ModelCheckpoint

__all__ = ["BatchSaver", "EpochSaver"]


class _Asked(NamedTuple):
    """A model that was to be saved, and what stood before that."""

    path: str
    epoch: int
    step: int
    best: Best
    kept: tuple[Kept, ...]


class _Saver:
    """What saving at epochs and at batches have in common."""

    def __init__(self, settings: ModelCheckpoint, frequency: Frequency) -> None:
        self.settings = settings
        self.frequency = frequency
        self.best = Best()
        self.kept: tuple[Kept, ...] = ()
        self.asked: list[_Asked] = []  # the last two models that were to be saved
        self.template = ""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        settings = self.settings
        assert isinstance(run.subject, Saveable)
        self.template = settings.template_for(run.subject)
        suffixes = run.subject.suffixes(weights_only=settings.save_weights_only)
        self.suffix = max((suffix for suffix in suffixes if self.template.endswith(suffix)), key=len)
        self.directory = sibling_path(self.template, "", "")
        self.begin = run.epoch, run.step
        self.metrics = [name for name in template_fields(self.template) if name not in ("epoch", "batch", "step")]
        self.seen: set[str] = set()
        if settings.monitors():
            self.monitor = run.monitor(settings.monitor, settings.mode)
            if settings.save_best_only and settings.initial_value_threshold is not None:
                self.best = Best(self.monitor.sign * settings.initial_value_threshold)

    @hookimpl
    def on_train_end(self, run: Run) -> Decision | None:
        if not self.template:  # the training never began
            return None
        error, on_signal = run.error, sibling_path(self.template, "signal", self.suffix)
        passed = location(on_signal) in run.state.files and run.resumed is not None and error is None
        done = decision.forget(on_signal, "the run has gone on from it") if passed else NOTHING
        ending, why = "end", "the training is over"
        if run.state.interrupted:
            ending, why = "signal", f"{run.state.requested} ended the training"
        elif error is not None:
            ending, why = "exception", f"{type(error).__name__} ended the training"
            if run.state.requested:  # and then Ctrl-C again: at once
                return None
        return (
            done | self.write(sibling_path(self.template, ending, self.suffix), why)
            if ending in self.settings.save_on
            else done
        )

    def save(self, run: Run, metrics: Mapping[str, Any], **counters: int) -> Decision:
        # the path comes first, so that a field that names nothing is told at once and not at the first best epoch
        path = self.path(run, metrics, **counters)
        score = self.score(metrics) if self.settings.monitors() else None
        return self.chosen(run, path, score) | self.last()

    def score(self, metrics: Mapping[str, Any]) -> float | None:
        return self.monitor.score(metrics)

    def last(self) -> Decision:
        return self.write(sibling_path(self.template, "last", self.suffix)) if self.settings.save_last else NOTHING

    def chosen(self, run: Run, path: str, score: float | None) -> Decision:
        """What `save_best_only`, `keep` and `keep_last` make of a model."""
        settings, reason, rule, seen = self.settings, "", "", {}
        asked = _Asked(path, run.epoch, run.step, self.best, self.kept)
        if settings.save_best_only:
            if score is None:
                return NOTHING
            before = self.best
            self.best, improved = best_rule(before, score, run.epoch)
            if not improved:
                return NOTHING
            reason, rule = self.monitor.improvement_reason(before.score, score), best_rule.__name__
            seen = self.monitor.journal_values(score, *before)
        if not (settings.keep or settings.keep_last):
            self.asked = [*self.asked[-1:], asked]
            return self.write(path, reason, rule, seen)
        new = Kept(path, run.epoch, run.step, nan if score is None else score)
        self.kept, verdict = retention_rule(self.kept, new, best=settings.keep or 0, last=settings.keep_last or 0)
        if not verdict.save:
            return NOTHING
        self.asked = [*self.asked[-1:], asked]
        if verdict.among_best and not reason:
            rank = f"among the best {settings.keep}" if settings.keep != 1 else "the best"
            reason = f"{self.monitor.metric} of {self.monitor.sign * new.score:.5f} is {rank}"
        rule = retention_rule.__name__
        if settings.monitors():
            seen = self.monitor.journal_values(score, *asked.best)
        seen |= {"keep": settings.keep, "keep_last": settings.keep_last, "kept": len(self.kept)}
        limits = [f"the {name} {n}" for name, n in (("best", settings.keep), ("last", settings.keep_last)) if n]
        why = f"no longer among {' or '.join(limits)}"
        forget = (decision.forget(old, why, rule=rule, values=seen) for old in verdict.forget)
        return join([self.write(path, reason, rule, seen), *forget])

    def write(self, path: str, reason: str = "", rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
        settings = self.settings
        return decision.save(
            path,
            weights_only=settings.save_weights_only,
            on_error=settings.on_error,
            background=settings.background,
            reason=reason,
            rule=rule,
            values=values,
        )

    @hookimpl
    def on_checkpoint_error(self, run: Run, path: Location, step: int) -> None:
        # what is on the disk decides what is the best, so the next better model is saved again
        last = location(sibling_path(self.template, "last", self.suffix))
        there = {(each.path, each.epoch, each.step) for each in run.state.checkpoints}
        for index, asked in enumerate(self.asked):
            chosen = path == location(asked.path)
            if step != asked.step or not (chosen or path == last) or (path, asked.epoch, step) in there:
                continue
            later = self.asked[index + 1 :]
            if chosen:
                later = [each._replace(best=asked.best) for each in later]
                self.best = self.best if later else asked.best
            # what was to go for it is still there, as is what was to go since then
            stood = asked.kept
            for place, each in enumerate(later):
                stood = _joined(stood, each.kept, path, step)
                later[place] = each._replace(kept=stood)
            self.kept = _joined(stood, self.kept, path, step)
            self.asked = later if chosen else [asked, *later]
            return

    def state_dict(self) -> dict[str, Any]:
        """The best score, the files that are kept, and which metrics were ever there."""
        kept = [each._replace(path=each.path.removeprefix(self.directory)) for each in self.kept]
        return {"best": list(self.best), "kept": [list(each) for each in kept], "seen": sorted(self.seen)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, without the files that somebody has removed."""
        kept = [Kept(*each) for each in saved["kept"]]
        kept = [each._replace(path=self.directory + each.path) for each in kept]
        self.best, self.seen = Best(*saved["best"]), set(saved["seen"])
        there = set(existing(location(each.path) for each in kept))
        # the one of the moment of the checkpoint may be yet to be saved
        self.kept = tuple(
            each for each in kept if (each.epoch, each.step) == self.begin or location(each.path) in there
        )

    def path(self, run: Run, metrics: Mapping[str, Any], **counters: int) -> str:
        values = {**metrics, "epoch": run.epoch + 1, "step": run.step, **counters}
        for name in self.metrics:
            try:
                render(f"{{{name}}}", values)
                self.seen.add(name)
            except MissingMetric:
                # an epoch without validation has no val_ metrics; elsewhere a name that was never there is a mistake
                if name not in self.seen and (not name.startswith("val_") or run.state.validates(run.epoch)):
                    raise
                values[name] = nan
        return render(self.template, values)


def _joined(before: tuple[Kept, ...], after: tuple[Kept, ...], path: Location, step: int) -> tuple[Kept, ...]:
    """What is kept where both are, without what was not written; of two at one path the later one."""
    there = [each for each in (*before, *after) if (location(each.path), each.step) != (path, step)]
    return tuple({each.path: each for each in there}.values())


class EpochSaver(_Saver):
    """Saves at the end of epochs whose number is a multiple."""

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        """Save, where the number of the epoch is a multiple."""
        return None if (epoch + 1) % self.frequency.every else self.save(run, metrics)


class BatchSaver(_Saver):
    """Saves at the end of batches, every so many batches, steps or minutes."""

    def __init__(self, settings: ModelCheckpoint, frequency: Frequency) -> None:
        super().__init__(settings, frequency)
        self.known = self.missed = False

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Also: the schedule begins."""
        super().on_train_begin(run)
        self.schedule = BatchSchedule(self.frequency, run.step)

    def state_dict(self) -> dict[str, Any]:
        """Also: where the schedule stands, and whether the metric came with batches."""
        return {
            **super().state_dict(),
            "schedule": self.schedule.state_dict(),
            "known": self.known,
            "missed": self.missed,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(saved)
        if "schedule" in saved:  # else it was saved at epochs
            self.schedule.load_state_dict(saved["schedule"])
            self.known, self.missed = saved["known"], saved["missed"]

    @hookimpl
    def on_batch_end(self, run: Run, batch: int, step: int, metrics: Mapping[str, Any]) -> Decision | None:
        """Save, where it is due."""
        if not self.schedule.due(batch, step):
            return None
        settings = self.settings
        if settings.monitors():
            known = resolve(self.monitor.metric, metrics) is not None
            self.known, self.missed = self.known or known, self.missed or not known
            if not known and (settings.save_best_only or not settings.keep_last):
                return self.last()
        return self.save(run, metrics, batch=batch + 1)

    def score(self, metrics: Mapping[str, Any]) -> float | None:
        """None also where the batch does not know the metric: only the end of the epoch can call that a mistake."""
        return None if resolve(self.monitor.metric, metrics) is None else super().score(metrics)

    @hookimpl
    def on_epoch_end(self, metrics: Mapping[str, Any]) -> None:
        """Refuse a metric that no batch of the epoch has known."""
        if self.missed and not self.known:
            settings = self.settings
            raise MissingMetric(
                f"{settings.monitor!r} is not known when a batch ends, so save_freq={settings.save_freq!r} would never "
                f'save; monitor one that is (logged: {", ".join(metrics)}), or set save_freq="epoch"'
            )
