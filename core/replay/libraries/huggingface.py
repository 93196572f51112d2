"""The rule by which the Trainer of Hugging Face's Transformers stops early."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainbus import MonitoredCallback
from trainbus.plugins.frequency import Frequency

from ...rules import StoppingVerdict, where
from .checkpoints.huggingface import HUGGINGFACE_CHECKPOINTS
from .library import Arguments, Library, LibraryPatience, RuleSpec, pick
from .torch import TORCH


class HuggingFaceEarlyStopping(MonitoredCallback):
    """The options of EarlyStoppingCallback; monitor and mode are those of TrainingArguments, by other names."""

    early_stopping_patience: int = 1
    early_stopping_threshold: float = 0.0


def huggingface_stopping_rule(
    state: LibraryPatience,
    score: Any,
    epoch: Any,
    *,
    early_stopping_patience: Any = 1,
    early_stopping_threshold: Any = 0.0,
) -> tuple[LibraryPatience, StoppingVerdict]:
    """Stop after ``early_stopping_patience`` scores that are not better by more than the threshold.

    Any better score becomes the best. The first score counts as an improvement, also if it is NaN. An epoch of -1 is
    ignored.

    Source: transformers 5.24, ``EarlyStoppingCallback.on_evaluate`` and ``Trainer._determine_best_metric``.
    """
    counts = np.asarray(epoch >= 0)
    with np.errstate(invalid="ignore"):
        higher = counts & np.asarray(score > state.best)
        improved = counts & (
            ~np.asarray(state.seen) | (higher & (np.abs(score - state.best) > early_stopping_threshold))
        )
    wait = where(improved, 0, state.wait + counts)
    after = LibraryPatience(where(higher, score, state.best), wait, state.seen | counts)
    return after, StoppingVerdict(improved, counts & (wait >= early_stopping_patience), higher)


def _huggingface_stopping(options: Arguments, _: int) -> dict[str, Any]:
    return pick(options, "early_stopping_patience", "early_stopping_threshold")


HUGGINGFACE = Library(
    "hf",
    "Transformers 5",
    RuleSpec(HuggingFaceEarlyStopping, huggingface_stopping_rule, LibraryPatience(), _huggingface_stopping),
    TORCH.plateau,
    HUGGINGFACE_CHECKPOINTS,
    looks=Frequency(1, "validation"),
    epoch_notes=("Hugging Face's Trainer counts evaluations: where the record lacks some, its patience is not exact.",),
)
