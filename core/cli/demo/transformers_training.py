"""Train on the digits with the Trainer of Transformers."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any, Literal

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from trainbus import Callback, Run
from trainbus.adapters.transformers import TransformersCallback

from .data import Digits


class Classifier(torch.nn.Module):
    """A network of one hidden layer, with the inputs and outputs that the Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        """Return the loss and the scores."""
        scores = self.layers(x)
        return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    rows, rows_val = (
        [{"x": image, "labels": int(label)} for image, label in zip(images, labels, strict=True)]
        for images, labels in ((data.x, data.y), (data.x_val, data.y_val))
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=360,
            learning_rate=0.01,
            lr_scheduler_type="constant",
            eval_strategy="epoch",
            logging_strategy="epoch",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=0,
        )
        torch.manual_seed(0)
        bus = TransformersCallback(callbacks, resume=resume)
        trainer = Trainer(
            Classifier(),
            arguments,
            train_dataset=rows,
            eval_dataset=rows_val,
            compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(1) == found.label_ids).mean()},
            callbacks=[bus],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return bus.run
