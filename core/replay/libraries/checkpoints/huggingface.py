"""How the Trainer of Hugging Face's Transformers saves checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

from trainbus import MonitoredCallback

from ...records import Recording
from .saver import CheckpointSpec, Comparison, FileChange, Moment


class HuggingFaceCheckpoints(MonitoredCallback):
    """Those of TrainingArguments that say what is saved; monitor is metric_for_best_model, by its recorded name."""

    save_strategy: Literal["no", "steps", "epoch", "best"] = "steps"
    save_steps: PositiveInt = 500
    save_total_limit: int | None = None
    load_best_model_at_end: bool = False

    def monitored(self) -> tuple[tuple[str, Any], ...]:
        """Return the metric, if it is compared."""
        compared = self.save_strategy == "best" or self.load_best_model_at_end or "monitor" in self.model_fields_set
        return super().monitored() if compared else ()


class HuggingFaceSaver:
    """Saves after evaluations, and removes the oldest checkpoints beyond a limit, but neither the best nor the last.

    Args:
        settings: The options.
        comparison: How values of the metric compare.

    Source: transformers 5.24, ``Trainer._determine_best_metric``, ``Trainer._save_checkpoint``,
    ``rotate_checkpoints`` and the end of ``Trainer.train``.
    """

    def __init__(self, settings: HuggingFaceCheckpoints, comparison: Comparison) -> None:
        self.settings, self.sign = settings, comparison.sign
        self.best: str | None = None
        self._compares = bool(settings.monitored())
        self._score = -inf
        self._best_step = 0
        self._steps = dict[int, str]()
        """The step and the directory of each checkpoint on disk."""

    def save(self, moment: Moment) -> Iterator[FileChange]:
        """Save the model of an evaluation."""
        improved = False
        if self._compares and moment.value is not None and self.sign * moment.value > self._score:
            self._score, improved = self.sign * moment.value, True
            if self.settings.save_strategy != "no":
                self._best_step = moment.step
        if not self._is_due(moment, improved=improved):
            return
        path = f"checkpoint-{moment.step}"
        self._steps[moment.step] = path
        yield FileChange(path)
        if self._best_step in self._steps and self._best_step:
            self.best = self._steps[self._best_step]
        limit = self.settings.save_total_limit
        if limit is None or limit <= 0:
            return
        held = {self._steps[max(self._steps)], self.best} & set(self._steps.values())
        for step in sorted(self._steps):
            if len(self._steps) <= max(limit, len(held)):
                break
            if self._steps[step] not in held:
                yield FileChange(self._steps.pop(step), removed=True)

    def finish(self) -> Iterator[FileChange]:
        """Remove all but the best checkpoint if only one is to be kept."""
        if self.settings.save_total_limit == 1 and self.best is not None:
            for step, path in sorted(self._steps.items()):
                if path != self.best:
                    del self._steps[step]
                    yield FileChange(path, removed=True)

    def _is_due(self, moment: Moment, *, improved: bool) -> bool:
        strategy = self.settings.save_strategy
        if strategy == "steps":
            return moment.step % self.settings.save_steps == 0
        return strategy == "epoch" or (strategy == "best" and improved)


def _translated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the options of trainbus's ModelCheckpoint; the Trainer names its directories itself."""
    found = dict(options)
    found.pop("filepath", None)
    if found.pop("save_best_only", False):
        found = {"save_strategy": "best", **found}
    if "keep" in found:
        found = {"save_strategy": "best", "save_total_limit": found.pop("keep"), **found}
    return found


def _unanswered(settings: HuggingFaceCheckpoints, recording: Recording) -> str | None:
    if settings.save_strategy == "steps":
        if recording.steps is None:
            return "save_strategy='steps' counts steps, which are not recorded"
        last = int(recording.steps[-1:].sum())
        wanted = np.arange(settings.save_steps, last + 1, settings.save_steps)
        if not np.isin(wanted, recording.steps).all():
            return f"save_steps={settings.save_steps} saves between the recorded steps"
    if settings.save_strategy == "epoch" and recording.unit != "epoch":
        return "save_strategy='epoch' saves at the ends of epochs, which the record does not show"
    return None


def _beside(settings: HuggingFaceCheckpoints, stopping: Sequence[MonitoredCallback]) -> HuggingFaceCheckpoints:
    """Return settings that compare the metric, since early stopping requires metric_for_best_model."""
    if settings.monitored() or not stopping:
        return settings
    return settings.model_copy(update={name: getattr(stopping[0], name) for name in ("monitor", "mode")})


HUGGINGFACE_CHECKPOINTS = CheckpointSpec(HuggingFaceCheckpoints, HuggingFaceSaver, _translated, _beside, _unanswered)
