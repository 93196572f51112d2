"""Lightning's ModelCheckpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import inf, isnan
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt

from trainbus import MonitoredCallback

from ...records import Recording
from ..precision import single
from .saver import CheckpointSpec, Comparison, FileChange, Moment

_FIELD = re.compile(r"(\{.*?)[:\}]")


class LightningModelCheckpoint(MonitoredCallback):
    """The options of Lightning's ModelCheckpoint."""

    monitor: str = ""
    dirpath: str | None = None
    filename: str | None = None
    save_last: bool | Literal["link"] | None = None
    save_top_k: Annotated[int, Field(ge=-1)] = 1
    save_weights_only: bool = False
    auto_insert_metric_name: bool = True
    every_n_train_steps: NonNegativeInt | None = None
    every_n_epochs: NonNegativeInt | None = None
    enable_version_counter: bool = True

    def monitored(self) -> tuple[tuple[str, Any], ...]:
        """Return the metric, if it is to be compared."""
        return super().monitored() if self.monitor else ()


class LightningSaver:
    """Keeps the best models, or without a metric the last one or all.

    Args:
        settings: The options.
        comparison: How values of the metric compare.

    Source: lightning 2.6.6, ``ModelCheckpoint._save_topk_checkpoint`` and ``_save_last_checkpoint``.
    """

    def __init__(self, settings: LightningModelCheckpoint, comparison: Comparison) -> None:
        self.settings, self.sign, self.double = settings, comparison.sign, comparison.double
        self.best: str | None = None
        self._scores: dict[str, float] = {}
        self._worst = ""
        self._last = self._saved = ""
        self._files = set[str]()

    def save(self, moment: Moment) -> Iterator[FileChange]:
        """Save the model of a validation, and remove one that is no longer among the best."""
        settings, saved = self.settings, False
        every = 1 if settings.every_n_epochs is None else settings.every_n_epochs
        if not moment.validated:
            return
        if every and (moment.epoch + 1) % every == 0 and settings.save_top_k:
            found = self._compared(moment) if settings.monitor else self._in_turn(moment)
            for change in found:
                saved = True
                yield change
        if settings.save_last and (saved or (settings.save_last == "link" and self._saved)):
            yield from self._save_last(moment)

    def finish(self) -> tuple[FileChange, ...]:
        """Change nothing."""
        return ()

    def _in_turn(self, moment: Moment) -> Iterator[FileChange]:
        """Replace the last model, or keep all."""
        previous = self.best
        self.best = self._free_path(moment, previous)
        yield self._write(self.best)
        if self.settings.save_top_k == 1 and previous and previous != self.best:
            yield self._remove(previous)

    def _compared(self, moment: Moment) -> Iterator[FileChange]:
        """Save a model that is among the best ones."""
        if moment.value is None:
            return
        value = moment.value if self.double else float(single(moment.value))
        score, size = self.sign * value, self.settings.save_top_k
        full = len(self._scores) == size
        if full and not score > self._scores[self._worst]:
            return
        dropped = self._worst if full else None
        if dropped is not None:
            del self._scores[dropped]
        path = self._free_path(moment, dropped)
        self._scores[path] = -inf if isnan(score) else score
        if size in (-1, len(self._scores)):
            self._worst = min(self._scores, key=self._scores.__getitem__)
        self.best = max(self._scores, key=self._scores.__getitem__)
        yield self._write(path)
        if dropped and dropped != path:
            yield self._remove(dropped)

    def _save_last(self, moment: Moment) -> Iterator[FileChange]:
        previous, path = self._last, self._free_path(moment, self._last, "last")
        self._last = path
        if self.settings.save_last != "link" or not self.settings.save_top_k:
            yield self._write(path)
        else:
            self._files.add(path)
            yield FileChange(path, link=self._saved)
        if previous and previous != path:
            yield self._remove(previous)

    def _write(self, path: str) -> FileChange:
        self._files.add(path)
        self._saved = path
        return FileChange(path)

    def _remove(self, path: str) -> FileChange:
        self._files.discard(path)
        return FileChange(path, removed=True)

    def _free_path(self, moment: Moment, own: str | None, template: str | None = None) -> str:
        """Return the path of a file that does not exist, or that is replaced."""
        name = self._format(moment, template or self.settings.filename or "{epoch}-{step}")
        path, version = f"{name}.ckpt", 1
        while self.settings.enable_version_counter and path in self._files and path != own:
            path, version = f"{name}-v{version}.ckpt", version + 1
        return f"{self.settings.dirpath}/{path}" if self.settings.dirpath else path

    def _format(self, moment: Moment, template: str) -> str:
        """Return the name with its fields filled in as Lightning does, 0 for a metric that is missing."""
        values: dict[str, Any] = {**moment.metrics, "epoch": moment.epoch, "step": moment.step}
        for group in sorted(_FIELD.findall(template), key=len, reverse=True):
            name = group[1:]
            if self.settings.auto_insert_metric_name:
                template = template.replace(group, f"{name}={{{name}")
            template = template.replace(group, f"{{0[{name}]")
            values.setdefault(name, 0)
        return template.format(values)


def _translated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the options of trainbus's ModelCheckpoint; the best model is what Lightning keeps of a metric."""
    found = dict(options)
    if "filepath" in found:
        found["filename"] = str(found.pop("filepath")).removesuffix(".ckpt").replace("{epoch0}", "{epoch}")
    if found.pop("save_best_only", False) or "keep" in found:
        found = {"monitor": "val_loss", **found}
    if "keep" in found:
        found["save_top_k"] = found.pop("keep")
    return found


def _unanswered(settings: LightningModelCheckpoint, _: Recording) -> str | None:
    if not settings.every_n_train_steps:
        return None
    return f"every_n_train_steps={settings.every_n_train_steps} saves inside epochs, of which nothing is recorded"


LIGHTNING_CHECKPOINTS = CheckpointSpec(LightningModelCheckpoint, LightningSaver, _translated, unanswered=_unanswered)
