"""Small trainings by the Trainer of Transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments
from transformers.utils import logging

from trainbus import Run
from trainbus.adapters.transformers import TransformersCallback
from trainbus.decision import Forget, Save
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau

BATCHES = 4
BATCH = 4
_X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
_Y = (_X.sum(1, keepdims=True) + np.random.default_rng(1).normal(size=(24, 1)) / 2).astype("float32")
ROWS = [{"x": x, "labels": y} for x, y in zip(_X, _Y, strict=True)]


class Line(torch.nn.Module):
    """A line with dropout, so that a resume must restore the random generators."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.line, self.dropout = torch.nn.Linear(3, 1), torch.nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.line(self.dropout(x))
        return {"loss": torch.nn.functional.mse_loss(found, labels), "logits": found}


def trainer(
    callbacks: Sequence[Any],
    folder: str = "trainer",
    *,
    kind: type[Trainer] = Trainer,
    model: torch.nn.Module | None = None,
    eval_dataset: Any = ROWS[16:],
    compute_metrics: Any = None,
    train_dataset: Any = ROWS[:16],
    **arguments: Any,
) -> Trainer:
    """Return a trainer of a small model; with one thread, so that its process can be forked."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    usual: dict[str, Any] = {
        "num_train_epochs": 5,
        "per_device_train_batch_size": BATCH,
        "learning_rate": 0.3,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return kind(
        Line() if model is None else model,
        TrainingArguments(folder, **{**usual, **arguments}),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        compute_metrics=compute_metrics,
        callbacks=list(callbacks),
    )


def trained(callbacks: Any, *, options: Any = None, resume_from: Any = None, **arguments: Any) -> Run:
    """Train; return the run."""
    bus = TransformersCallback(callbacks, **(options or {}))
    trainer([bus], **arguments).train(resume_from_checkpoint=resume_from)
    return bus.run


def first_of(*cases: Any, default: int = 1) -> list[Any]:
    """Return cases of which only the first ones run by default."""
    return [pytest.param(each, marks=() if n < default else pytest.mark.exhaustive) for n, each in enumerate(cases)]


def deciding(**options: Any) -> list[Any]:
    return [
        EarlyStopping(patience=2, restore_best_weights=True, **options),
        ReduceLROnPlateau(patience=1, factor=0.5, **options),
    ]


def decided(run: Run) -> list[tuple[int, list[str]]]:
    """Return what a run has decided, without the files that it has saved or removed."""
    log = (
        (epoch, sorted(each.reason for each in one if not isinstance(each, (Save, Forget))))
        for epoch, one in log_of(run)
    )
    return [each for each in log if each[1]]


def end_of(run: Run) -> dict[str, Any]:
    subject: Any = run.subject
    return {
        "history": dict(run.history),
        "reason": run.result.reason,
        "step": run.step,
        "decided": decided(run),
        "rates": subject.learning_rates(),
        "weights": [each.tolist() for each in subject.model.parameters()],
    }
