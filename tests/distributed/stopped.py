"""A training in which a rank is stopped for ever, or has fewer batches than the others inside ``join``.

``python -m tests.distributed.stopped FOLDER WORDS`` is one rank.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint

from .jobs import report

MODULE = "tests.distributed.stopped"
SHORT = 4
"""Seconds that ranks wait in vain."""


def train(
    rank: int,
    *,
    stops: int | None = None,
    where: str = "",
    sharded: bool = False,
    joined: bool = False,
    batches: list[int] | None = None,
    save_freq: Any = "epoch",
) -> None:
    """Train; rank ``stops`` is stopped at a place in the second epoch."""
    model: Any = nn.Linear(3, 1)
    model = fully_shard(model) if sharded else DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    subject = TorchSubject(model, optimizer, timeout=SHORT if where != "collective" else 1800)
    callbacks = [EarlyStopping(monitor="loss"), ModelCheckpoint("run/m-{step}", save_freq=save_freq)]

    def stop_at(place: str) -> None:
        if stops == rank and where == place and (place == "end" or run.epoch == 1):
            os.kill(os.getpid(), signal.SIGSTOP)

    with Run(subject, callbacks, verbose=0) as run:
        for _ in run.epochs(3):
            with ExitStack() as joining:
                if joined:
                    joining.enter_context(model.join())
                for _ in run.batches(range((batches or [2, 2])[rank])):
                    stop_at("collective")
                    loss = model(torch.ones(2, 3)).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    run.log(loss=loss)
            stop_at("epoch")
        stop_at("end")


def main() -> None:
    """Run one rank, and report its error."""
    os.chdir(sys.argv[1])
    words = json.loads(sys.argv[2])
    limit = timedelta(seconds=SHORT if words.get("where") == "collective" else 1800)
    dist.init_process_group("gloo", timeout=limit)
    try:
        train(dist.get_rank(), **words)
    except Exception as error:
        report(f"{type(error).__name__}: {error}")
        raise
    report("nothing")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
