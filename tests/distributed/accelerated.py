"""Trainings whose parts Accelerate has prepared: by a loop of one's own, or by the Trainer of Transformers.

``python -m tests.distributed.accelerated FOLDER WORDS`` is one rank.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .jobs import report

MODULE = "tests.distributed.accelerated"
_X = torch.randn(48, 3, generator=torch.Generator().manual_seed(0))
_Y = _X.sum(1, keepdim=True)


def in_a_loop(
    name: str,
    resume: str | None = None,
    *,
    shuffle: bool = True,
    accumulate: int = 1,
    workers: int = 0,
    batch_size: int = 4,
    seeded: bool = True,
    split: bool = False,
    even: bool = True,
) -> dict[str, Any]:
    """Train in a loop with prepared objects; return what a resume may not change, from its first batch on."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=accumulate,
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=seeded, split_batches=split, even_batches=even),
    )
    model: Any = nn.Sequential(nn.Dropout(0.2), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 48)
    loader = DataLoader(TensorDataset(_X, _Y), batch_size=batch_size, shuffle=shuffle, num_workers=workers)
    model, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)
    callbacks = [
        ModelCheckpoint(f"{name}/{{step}}", save_freq="1 steps"),
        ReduceLROnPlateau(monitor="loss", patience=1, min_delta=10.0),
        EarlyStopping(monitor="loss", patience=3, restore_best_weights=True),
    ]
    seen: list[float] = []
    with Run(TorchSubject(model, optimizer, scheduler=scheduler), callbacks, resume=resume, verbose=0) as run:
        for _ in run.epochs(3):
            for x, y in run.batches(loader, accumulate=accumulate):
                with accelerator.accumulate(model):
                    seen.append(round(float(x.sum()), 5))
                    loss = nn.functional.mse_loss(model(x), y)
                    accelerator.backward(loss)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                run.log(loss=loss.item())
    weights = [each.tolist() for each in model.parameters()]
    return {"seen": seen, "weights": weights, **_end_of(run)}


def in_a_trainer(name: str, source: str | None = None, *, own: bool = False, **arguments: Any) -> dict[str, Any]:
    """Train by the Trainer of Transformers, and resume by its own checkpoints or those of the run."""
    from tests.adapters.transformers.trainers import trained

    callbacks: list[Any] = [
        EarlyStopping(patience=2, restore_best_weights=True),
        ReduceLROnPlateau(patience=1, factor=0.5, min_delta=0.1),
    ]
    options: dict[str, Any] = {"verbose": 0}
    if own:
        callbacks.append(ModelCheckpoint(f"{name}/{{step}}", save_freq="1 steps"))
        options["resume"], source = source, None
    arguments = {"per_device_train_batch_size": 2, "num_train_epochs": 4, "logging_strategy": "no", **arguments}
    run = trained(callbacks, folder=f"{name}-trainer", options=options, resume_from=source, **arguments)
    weights = [each.tolist() for each in run.subject.model.parameters()]
    return {"seen": [], "weights": weights, **_end_of(run)}


def _end_of(run: Run) -> dict[str, Any]:
    return {"history": dict(run.history), "reason": run.result.reason, "step": run.step, "size": run.world_size}


def main() -> None:
    """Train as the words say, and resume from each of these checkpoints."""
    words = json.loads(sys.argv[2])
    os.chdir(sys.argv[1])
    train = in_a_trainer if words.pop("trainer", False) else in_a_loop
    sources = words.pop("sources")
    found = [train("whole", **words)]
    for number, source in enumerate(sources):
        assert Path(source).exists(), source
        found.append(train(f"again{number}", source, **words))
    report(found)


if __name__ == "__main__":
    main()
