"""A training by the Trainer in a process of its own, which waits for a signal: ``python -m ... FOLDER WAY [wait]``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from trainbus import hookimpl
from trainbus.plugins import ModelCheckpoint, TensorBoard

from .trainers import deciding, end_of, trained


class Waits:
    """Says that a batch of the second epoch begins, and waits for a line, before which the process gets the signal."""

    @hookimpl
    def on_batch_begin(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == (1, 1):
            print("ready", flush=True)
            sys.stdin.readline()


def main(folder: str, way: str, wait: str = "") -> None:
    os.chdir(folder)
    callbacks = [*deciding(), TensorBoard("logs"), *([Waits()] if wait else [])]
    arguments: dict[str, Any] = {"num_train_epochs": 4}
    resume_from = None
    if way == "auto":
        callbacks.append(ModelCheckpoint("m-{epoch}.pt", save_on=["signal"]))
        arguments["logging_strategy"] = "no"  # its mean of an interrupted epoch is that of the rest
    else:
        arguments["save_strategy"] = "epoch"
        resume_from = next((str(each) for each in sorted(Path().glob("trainer/checkpoint-*"))[-1:]), None)
    options = {"resume": "auto" if way == "auto" else None, "verbose": 0}
    run = trained(callbacks, options=options, resume_from=resume_from, **arguments)
    print(json.dumps(end_of(run), default=dict), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
