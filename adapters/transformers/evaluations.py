"""When the trainer evaluates."""

# The types of Transformers are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from transformers import TrainerState, TrainingArguments

from trainbus import Run, hookimpl
from trainbus.metrics.missing_metric import MetricAdvice

ADVICE = MetricAdvice(
    "give Trainer eval_dataset=, and TrainingArguments eval_strategy='epoch'",
    "return it from compute_metrics, or call self.log({{{name!r}: value}}) in the trainer; the training loss needs "
    "logging_strategy='epoch'",
)
"""What the user writes to have a metric logged."""


def evaluated_epochs(args: TrainingArguments) -> Sequence[int] | None:
    """Return the epochs at whose ends the trainer evaluates, counted from 1; None if it does so by steps."""
    if args.eval_strategy == "epoch":
        return range(max(math.ceil(args.eval_delay), 1), sys.maxsize)
    return () if args.eval_strategy == "no" else None


def is_due_after(step: int, args: TrainingArguments, state: TrainerState) -> bool:
    """Return whether the trainer evaluates after a weight update: by steps, the last update included."""
    at_end = step >= state.max_steps
    return bool(args.eval_strategy == "steps" and step >= args.eval_delay and (at_end or step % state.eval_steps == 0))


class Evaluations:
    """A plugin that remembers after which weight update the trainer has evaluated last."""

    step = -1

    @hookimpl
    def on_validation_end(self, run: Run) -> None:
        """Note the weight update."""
        self.step = run.step

    def state_dict(self) -> int:
        """Return the weight update."""
        return self.step

    def load_state_dict(self, saved: int) -> None:
        """Restore it."""
        self.step = saved
