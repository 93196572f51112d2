"""A training as a user would write it for torchrun, which may be killed, asked to end, and started again.

`python -m tests.distributed.elastic 10` kills it at random ten times for each number of processes, and prints a table.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from trainbus import Decision, Run, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

SCORES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.6, 3.7, 2.0, 2.5, 2.6, 2.7, 2.8]
"""What `val_score` is in each epoch, as the mean over the ranks."""
BATCH = 4


class Witness:
    """Writes down what this rank is told at epochs and of decisions."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def note(self, run: Run, **told: Any) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps({"epoch": run.epoch, "step": run.step, **told}) + "\n")

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        self.note(run, metrics=values, weights=digest(run.subject))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        self.note(run, actions=[str(action) for action in decision])

    @hookimpl
    def on_train_end(self, run: Run) -> None:
        ended = {"reason": run.result.reason, "requested": run.requested, "weights": digest(run.subject)}
        self.note(
            run, ended=ended, batch=run.position.batches, resumed=run.resumed is not None and run.resumed.path.name
        )


def digest(subject: Any) -> str:
    """A digest of all weights."""
    weights = hashlib.sha256()
    for name, array in subject.weights():
        weights.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return weights.hexdigest()[:16]


def train(folder: Path, acts: list[dict[str, Any]], *, rows: int = 96, save_freq: str = "epoch") -> None:
    """One rank of the training, which does to itself and others what `acts` say."""
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1 + rank)  # dropout differs by rank
    random.seed(rank)
    x = torch.from_numpy(np.random.RandomState(0).randn(rows, 6).astype("float32"))
    data = TensorDataset(x, x.sum(1, keepdim=True))
    sampler: DistributedSampler[Any] = DistributedSampler(data, seed=3)
    loader = DataLoader(data, batch_size=BATCH, sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    watch = {"monitor": "val_score", "mode": "min"}
    callbacks = [
        EarlyStopping(**watch, patience=4, restore_best_weights=True),
        ReduceLROnPlateau(**watch, patience=2, factor=0.5),
        ModelCheckpoint(str(folder / "run" / "best"), **watch, save_best_only=True, save_last=True),
        *([ModelCheckpoint(str(folder / "run" / "s-{step}"), save_freq=save_freq)] if save_freq != "epoch" else []),
        Witness(folder / f"lines-{rank}.jsonl"),
    ]
    with Run(TorchSubject(model, optimizer, timeout=60), callbacks, progress=False, resume="auto") as run:
        for epoch in run.epochs(len(SCORES)):
            sampler.set_epoch(epoch)
            for batch, (inputs, targets) in enumerate(run.batches(loader)):
                loss = nn.functional.mse_loss(model(inputs + 0.01 * random.random()), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss, count=len(inputs))
                for act in acts:
                    if (act["rank"], act["epoch"], act["batch"]) == (rank, epoch, batch):
                        do(act["do"], folder)
            run.log(val_score=SCORES[epoch] + rank - (size - 1) / 2)


def do(what: str, folder: Path) -> None:
    """Harm this rank, or ask for the end."""
    if what == "stop":
        (folder / "run" / "stop").touch()
    elif what == "agent":
        os.kill(os.getppid(), signal.SIGTERM)
    elif what == "raise":
        raise ValueError("no more data")
    else:
        os.kill(os.getpid(), signal.Signals[what])


def main(folder: str, words: str = "{}") -> None:
    """One rank."""
    given = json.loads(words)
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    acts = [act for act in given.pop("acts", []) if act.get("attempt", 0) == attempt]
    dist.init_process_group("gloo")
    train(Path(folder), acts, **given)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
