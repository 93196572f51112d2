"""A training as a user would write it for torchrun, which may be killed, interrupted by a signal, and restarted.

``python -m tests.distributed.elastic 10`` kills it ten times at random for each number of ranks, and prints a table.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
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

from .jobs import job, torchrun

MODULE = "tests.distributed.elastic"
SCORES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.6, 3.7, 2.0, 2.5, 2.6, 2.7, 2.8]
"""The mean of ``val_score`` over the ranks, for each epoch."""
BATCH = 4


class Witness:
    """A plugin that records the epochs and decisions of this rank."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def note(self, run: Run, **fields: Any) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps({"epoch": run.epoch, "step": run.step, **fields}) + "\n")

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        self.note(run, metrics=values, weights=digest(run.subject))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        self.note(run, actions=[str(action) for action in decision])

    @hookimpl
    def on_train_end(self, run: Run) -> None:
        batches, weights = run.state.position.batches, digest(run.subject)
        resumed = None if run.resumed is None else run.resumed.path.name
        self.note(run, ended=run.result.reason, batches=batches, weights=weights, resumed=resumed)


def digest(subject: Any) -> str:
    """Return a digest of all weights."""
    weights = hashlib.sha256()
    for name, array in subject.weights():
        weights.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return weights.hexdigest()[:16]


def train(folder: Path, acts: list[dict[str, Any]], *, rows: int = 96, save_freq: str = "epoch") -> None:
    """Train on one rank, which carries out ``acts`` on itself and on others."""
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1 + rank)  # dropout differs by rank
    random.seed(rank)
    x = torch.from_numpy(np.random.RandomState(0).randn(rows, 6).astype("float32"))
    data = TensorDataset(x, x.sum(1, keepdim=True))
    sampler: DistributedSampler[Any] = DistributedSampler(data, seed=3)
    loader = DataLoader(data, batch_size=BATCH, sampler=sampler)
    net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    # otherwise DDP rebuilds its buckets after the first step of a process, and more than two ranks sum in another order
    model = DistributedDataParallel(net, find_unused_parameters=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    watch = {"monitor": "val_score", "mode": "min"}
    callbacks = [
        EarlyStopping(**watch, patience=4, restore_best_weights=True),
        ReduceLROnPlateau(**watch, patience=2, factor=0.5),
        ModelCheckpoint(str(folder / "run" / "best"), **watch, save_best_only=True, save_last=True),
        *([ModelCheckpoint(str(folder / "run" / "s-{step}"), save_freq=save_freq)] if save_freq != "epoch" else []),
        Witness(folder / f"lines-{rank}.jsonl"),
    ]
    with Run(TorchSubject(model, optimizer, timeout=60), callbacks, verbose=0, resume="auto") as run:
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
    """Interrupt or kill this rank."""
    if what == "stop":
        (folder / "run" / "stop").touch()
    elif what == "agent":
        os.kill(os.getppid(), signal.SIGTERM)
    elif what == "raise":
        raise ValueError("no more data")
    else:
        os.kill(os.getpid(), signal.Signals[what])


def rank(folder: str, words: str = "{}") -> None:
    """Run one rank."""
    given = json.loads(words)
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    acts = [act for act in given.pop("acts", []) if act.get("attempt", 0) == attempt]
    dist.init_process_group("gloo")
    train(Path(folder), acts, **given)
    dist.barrier()
    dist.destroy_process_group()


def last_reports(folder: Path, rank: int = 0) -> list[dict[str, Any]]:
    """Return what a rank has recorded of a training that may have been interrupted: the last report of each event."""
    last: dict[Any, Any] = {}
    for line in (folder / f"lines-{rank}.jsonl").read_text().replace(str(folder), "").splitlines():
        each = json.loads(line)
        each.pop("resumed", None)
        # an uninterrupted training reports neither the request to end nor its file
        actions = [
            action for action in each.get("actions", ()) if "signal.pt" not in action and "request" not in action
        ]
        each |= {"actions": actions} if "actions" in each else {}
        if each.get("actions") != [] and "asked for it" not in each.get("ended", ""):
            moment = "end" if "ended" in each else (each["step"], "actions" in each, "Restore" in line)
            if "ended" in each:  # earlier attempts have failed
                last.pop(moment, None)
            last[moment] = each
    return list(last.values())


def killed(size: int, kills: int, chance: random.Random, *, then: int | None = None) -> tuple[Path, int]:
    """Kill random ranks of a job at random batches; return its folder, and the exit code of its last part.

    Args:
        size: Number of ranks.
        kills: Number of ranks that are killed, one after the other.
        chance: Random generator that chooses which and when.
        then: Number of ranks that continue after the last kill; by default as many as before.
    """
    folder = Path(tempfile.mkdtemp())
    batches = 96 // BATCH // size
    epochs = sorted(chance.sample(range(1, len(SCORES)), kills))
    acts = [
        {
            "rank": chance.randrange(size),
            "epoch": epoch,
            "batch": chance.randrange(batches),
            "do": "SIGKILL",
            "attempt": n,
        }
        for n, epoch in enumerate(epochs)
    ]
    ended = torchrun(folder, size, MODULE, json.dumps({"acts": acts}), restarts=kills - (then is not None))
    if then is not None:
        ended = job(folder, then, MODULE)
    return folder, max(map(abs, ended.codes))


def main(trials: int) -> None:
    """Print the table in docs/reliability.md."""
    print("| ranks | kills | finished | same decisions | same weights, bit for bit |")
    print("| --- | ---: | ---: | ---: | ---: |")
    chance = random.Random(0)
    for size, then, kills in ((2, None, 2), (4, None, 2), (4, 2, 1)):
        uninterrupted = Path(tempfile.mkdtemp())
        job(uninterrupted, size, MODULE)
        count = Counter[str]()
        for _ in range(trials):
            folder, code = killed(size, kills, chance, then=then)
            first, other = last_reports(folder), last_reports(uninterrupted)
            count["end"] += code == 0
            count["decisions"] += [each.get("actions") for each in first] == [each.get("actions") for each in other]
            count["weights"] += [each.get("weights") for each in first] == [each.get("weights") for each in other]
        name = f"{size}" if then is None else f"{size}, then {then}"
        weights = f"{count['weights']}/{trials}" if then is None else "not promised"
        found = f"{count['end']}/{trials} | {count['decisions']}/{trials} | {weights}"
        print(f"| {name} | {trials * kills} | {found} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1])) if sys.argv[1].isdigit() else rank(*sys.argv[1:])
