"""Save the model, or only the best one, while it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt

from trainbus import Decision, MissingMetric, MonitoredCallback, Run, SettingsError, TrainbusError, decision, hookimpl
from trainbus.callback import PathText
from trainbus.capabilities import Saveable, missing
from trainbus.filenames import check_template, fields, fill, with_suffix
from trainbus.names import resolve
from trainbus.rules import Best, Intervals, best_rule, interval_rule

__all__ = ["ModelCheckpoint"]


def _frequency(value: object) -> object:
    if value == "epoch" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('give "epoch", or a number of batches above 0')


class ModelCheckpoint(MonitoredCallback):
    """Save the model at the end of every epoch or every n batches, or only where the monitored metric is the best.

    A file is staged beside its path, synced and renamed: the path always holds a complete checkpoint. With
    `save_best_only` a metric that is missing or not finite never saves.

    >>> ModelCheckpoint("best.keras", save_best_only=True).filepath
    'best.keras'
    >>> ModelCheckpoint("m-{val_loss.real}.pt")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ModelCheckpoint: filepath='m-{val_loss.real}.pt': {val_loss.real}: a field is ...
    """

    filepath: Annotated[PathText, AfterValidator(check_template)] = Field(kw_only=False)
    """Path of the file. Without a suffix it gets the framework's own. Fields in braces are filled in: {epoch} and
    {batch}, counted from 1, and every metric, as in "m-{epoch:02d}-{val_loss:.4f}"."""
    save_best_only: bool = False
    """Whether only a model whose monitored metric beats all before it is saved."""
    save_weights_only: bool = False
    """Whether the weights are saved without the optimizer."""
    save_freq: Annotated[Literal["epoch"] | PositiveInt, BeforeValidator(_frequency)] = "epoch"
    """ "epoch", or the number of batches between two saves, counted across epochs."""
    initial_value_threshold: float | None = None
    """Best value to begin with: with `save_best_only`, only a better one saves."""
    on_error: Literal["raise", "warn"] = "raise"
    """What happens where a file cannot be written: the run ends, or says so and goes on; the file that was there stays
    whole either way, and the next model that is better than it is saved."""

    def requires(self) -> tuple[type, ...]:
        """A subject that can be written to a file."""
        return (Saveable,)

    def monitors(self) -> bool:
        """The metric matters only where the best is asked for."""
        return self.save_best_only

    def claims(self) -> tuple[str, ...]:
        """The template, as an absolute path."""
        return (str(Path(self.filepath).resolve()),)

    def problems(self, subject: object) -> Iterator[TrainbusError]:
        """Also: the subject cannot write a file of this suffix, or the path is a directory."""
        yield from super().problems(subject)
        if isinstance(subject, Saveable) and missing(subject, Saveable) is None:
            try:
                path = Path(self.template_for(subject))
                if path.is_dir():
                    raise SettingsError(f"{str(path)!r} is a directory; name a file, as {str(path / 'best')!r}")
            except SettingsError as error:
                yield SettingsError(f"ModelCheckpoint: filepath={error}")

    def plugin(self) -> object:
        """A new listener for one run."""
        return _BatchSaver(self) if isinstance(self.save_freq, int) else _EpochSaver(self)

    def template_for(self, subject: Saveable) -> str:
        """The template with a suffix that the subject can write.

        Raises:
            SettingsError: it has another suffix.
        """
        suffixes = subject.suffixes(weights_only=self.save_weights_only)
        return with_suffix(self.filepath, suffixes, type(subject).__name__)


class _Saver:
    """What saving at epochs and at batches have in common."""

    def __init__(self, settings: ModelCheckpoint) -> None:
        self.settings = settings
        self.best = Best()
        self.asked: tuple[str, Best] | None = None  # the path of the last save, and what was the best before it

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        settings = self.settings
        assert isinstance(run.subject, Saveable)
        self.template = settings.template_for(run.subject)
        self.metrics = [name for name in fields(self.template) if name not in ("epoch", "batch", "step")]
        self.seen: set[str] = set()
        if settings.save_best_only:
            self.monitor = run.monitor(settings.monitor, settings.mode)
            if settings.initial_value_threshold is not None:
                self.best = Best(self.monitor.sign * settings.initial_value_threshold)

    def save(self, run: Run, metrics: Mapping[str, Any], **counters: int) -> Decision | None:
        # the path comes first, so that a field that names nothing is told at once and not at the first best epoch
        path = self.path(run, metrics, **counters)
        reason = ""
        if self.settings.save_best_only:
            score = self.monitor.score(metrics)
            if score is None:
                return None
            before = self.best
            self.best, improved = best_rule(before, score, run.epoch)
            if not improved:
                return None
            reason = self.monitor.improvement(before.score, score)
            self.asked = path, before
        settings = self.settings
        return decision.save(path, weights_only=settings.save_weights_only, on_error=settings.on_error, reason=reason)

    @hookimpl
    def on_checkpoint_error(self, path: Path) -> None:
        if self.asked is not None and Path(self.asked[0]) == path:
            self.best = self.asked[1]

    def path(self, run: Run, metrics: Mapping[str, Any], **counters: int) -> str:
        values = {**metrics, "epoch": run.epoch + 1, "step": run.step, **counters}
        for name in self.metrics:
            try:
                fill(f"{{{name}}}", values)
                self.seen.add(name)
            except MissingMetric:
                # an epoch without validation has no val_ metrics; elsewhere a name that was never there is a mistake
                if name not in self.seen and (not name.startswith("val_") or run.validates(run.epoch)):
                    raise
                values[name] = nan
        return fill(self.template, values)


class _EpochSaver(_Saver):
    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        return self.save(run, metrics)


class _BatchSaver(_Saver):
    def __init__(self, settings: ModelCheckpoint) -> None:
        super().__init__(settings)
        self.every = settings.save_freq
        self.interval = Intervals()
        self.known = self.missed = False

    @hookimpl
    def on_batch_end(self, run: Run, batch: int, metrics: Mapping[str, Any]) -> Decision | None:
        self.interval, due = interval_rule(self.interval, batch, self.every)
        if not due:
            return None
        if self.settings.save_best_only:
            known = resolve(self.monitor.metric, metrics) is not None
            self.known, self.missed = self.known or known, self.missed or not known
            if not known:
                return None
        return self.save(run, metrics, batch=batch + 1)

    @hookimpl
    def on_epoch_end(self, metrics: Mapping[str, Any]) -> None:
        if self.missed and not self.known:
            raise MissingMetric(
                f"{self.settings.monitor!r} is not known when a batch ends, so save_freq={self.every} would never "
                f'save; monitor one that is (logged: {", ".join(metrics)}), or set save_freq="epoch"'
            )
