"""A training that is interrupted inside an epoch and continued by another number of ranks.

``python -m tests.distributed.resized`` plays every change of size, with DDP and FSDP2, from step checkpoints after a
SIGKILL and from those of a SIGTERM, and prints a table. ``python -m tests.distributed.resized FOLDER WORDS`` is a rank.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from trainbus import Decision, Run, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .jobs import job

MODULE = "tests.distributed.resized"
SCORES = [5.0, 4.0, 4.5, 4.6, 3.0, 3.5, 3.6, 3.7]
ROWS, BATCH = 96, 4
EPOCH = 2
"""The epoch that is interrupted."""


class Lines:
    """Writes what a rank trains on, and what is decided."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.file = (folder / f"lines-{rank}.jsonl").open("a", buffering=1)

    def note(self, **fields: Any) -> None:
        self.file.write(json.dumps(fields) + "\n")

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        self.note(ended=epoch, loss=float(metrics["loss"]), rows=float(metrics["rows"]))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        kinds = sorted(type(action).__name__ for action in decision if type(action).__name__ not in ("Save", "Forget"))
        if kinds and not run.state.interrupted:
            self.note(decided=kinds, at=run.epoch)


def loader_of(kind: str, rank: int, size: int) -> tuple[Any, Any]:
    """Return the batches of this rank, as numbers of rows, and the sampler of which an epoch is to be set."""
    if kind == "whole":  # every rank has all rows, in an order that torch's global generator draws
        return DataLoader(torch.arange(ROWS), batch_size=12, shuffle=True), None
    if kind == "listed":
        return [each[rank::size] for each in torch.arange(ROWS).split(24)], None
    sampler: Any = DistributedSampler(torch.arange(ROWS), size, rank, seed=3)
    batch = BATCH * 4 // size if kind == "held" else BATCH
    if kind == "stateful":
        from torchdata.stateful_dataloader import StatefulDataLoader

        return StatefulDataLoader(torch.arange(ROWS), batch_size=batch, sampler=sampler), sampler
    return DataLoader(torch.arange(ROWS), batch_size=batch, sampler=sampler), sampler


def train(folder: Path, rank: int, size: int, *, sharded: bool, loader: str, stop: Any = None) -> None:
    """Train on one rank; ``stop`` is a signal, and the number of the batch of ``EPOCH`` after which it comes."""
    torch.manual_seed(1)
    random.seed(rank)  # differs by rank, and is drawn from in the loop
    net: Any = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    model = fully_shard(net) if sharded else DistributedDataParallel(net) if size > 1 else net
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(2))
    batches, sampler = loader_of(loader, rank, size)
    watch, lines = {"monitor": "val_score", "mode": "min"}, Lines(folder, rank)
    callbacks = [
        EarlyStopping(**watch, patience=3, restore_best_weights=True),
        ReduceLROnPlateau(**watch, patience=2, factor=0.5),
        ModelCheckpoint(str(folder / "run" / "s-{step}"), save_freq="1 step", keep_last=2, background=False),
        lines,
    ]
    with Run(TorchSubject(model, optimizer, timeout=60), callbacks, verbose=0, resume="auto") as run:
        lines.note(resumed=run.resumed and run.resumed.path.name, step=run.step)
        for epoch in run.epochs(len(SCORES)):
            if sampler is not None:
                sampler.set_epoch(epoch)
            for batch, rows in enumerate(run.batches(batches)):
                own = rows[rank::size] if loader == "whole" else rows
                lines.note(rows=own.tolist(), epoch=epoch, step=run.step + 1)
                random.random()
                optimizer.zero_grad()
                loss = (model(x[own]) - x[own].sum(1, keepdim=True)).square().mean()
                loss.backward()
                optimizer.step()
                run.log(loss=loss, count=len(own))
                run.log(rows=float(len(own)), reduce="sum")
                if stop and (epoch, batch) == (EPOCH, stop[1]) and (rank == size - 1 or stop[0] == "SIGKILL"):
                    os.kill(os.getpid(), signal.Signals[stop[0]])
            run.log(val_score=SCORES[epoch])


class Trained(NamedTuple):
    """What a training that was continued by other ranks has done."""

    rows: dict[int, Counter[int]]
    """Epoch to how often each row was trained on, up to the checkpoint and after it."""
    decisions: list[Any]
    metrics: dict[int, tuple[float, float]]
    """Epoch to its loss, and to the number of rows that the metrics count."""
    resumed: str
    said: str


def trained(folder: Path, then: int, now: int, said: str = "") -> Trained:
    """Read the lines of the ranks."""
    rows: dict[int, Counter[int]] = {epoch: Counter() for epoch in range(len(SCORES))}
    decisions: list[Any] = []
    metrics: dict[int, tuple[float, float]] = {}
    resumed, cut = "", 0
    for rank in range(max(then, now)):
        file = folder / f"lines-{rank}.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        starts = [number for number, each in enumerate(lines) if "resumed" in each]
        second = next((number for number in starts if lines[number]["resumed"]), len(lines))
        if rank == 0 and second < len(lines):
            resumed, cut = lines[second]["resumed"], lines[second]["step"]
        for number, each in enumerate(lines):
            if "epoch" in each and (number > second or each["step"] <= (cut or each["step"])):
                rows[each["epoch"]].update(each["rows"])
            if rank == 0 and "decided" in each and [each["at"], each["decided"]] not in decisions:
                decisions.append([each["at"], each["decided"]])
            if rank == 0 and "ended" in each:
                metrics[each["ended"]] = each["loss"], each["rows"]
    return Trained(rows, decisions, metrics, resumed, said)


def interrupted(
    folder: Path, then: int, now: int, what: str, after: int, *, sharded: bool = False, loader: str = "turns"
) -> Trained:
    """Interrupt a training of ``then`` ranks after a batch, and continue it with ``now`` ranks."""
    words = {"sharded": sharded, "loader": loader}
    first = job(folder, then, MODULE, json.dumps({**words, "stop": [what, after - 1]}), forked=True)
    assert set(first.codes) == {-signal.Signals[what]}, first.errors
    second = job(folder, now, MODULE, json.dumps(words), forked=True)
    assert second.codes == [0] * now, second.errors
    return trained(folder, then, now, second.errors)


def unbroken(folder: Path, *, sharded: bool = False, loader: str = "turns") -> Trained:
    """Train with two ranks."""
    ended = job(folder, 2, MODULE, json.dumps({"sharded": sharded, "loader": loader}), forked=True)
    assert ended.codes == [0, 0], ended.errors
    return trained(folder, 2, 2)


SIZES = [(4, 2), (2, 4), (1, 4), (4, 3), (4, 1)]


def cases() -> Iterator[tuple[int, int, str, bool, str]]:
    """Yield every case: both sizes, the signal, whether the model is sharded, and the kind of loader."""
    for then, now in SIZES:
        for what in ("SIGKILL", "SIGTERM"):
            for sharded in (False, True):
                yield then, now, what, sharded, "turns"
        yield then, now, "SIGKILL", False, "stateful"
        yield then, now, "SIGKILL", False, "whole"
        yield then, now, "SIGKILL", True, "listed"
        if 3 not in (then, now):
            yield then, now, "SIGTERM", False, "held"


def main() -> None:
    """Print a table of all cases."""
    expected: dict[Any, Trained] = {}
    print("| ranks | stopped by | model | loader | resumed from | decisions | samples not trained on once | log |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for then, now, what, sharded, loader in cases():
        if (sharded, loader) not in expected:
            expected[sharded, loader] = unbroken(Path(tempfile.mkdtemp()), sharded=sharded, loader=loader)
        row = f"| {then} to {now} | {what} | {'FSDP2' if sharded else 'DDP'} | {loader} |"
        try:
            found = interrupted(Path(tempfile.mkdtemp()), then, now, what, 3, sharded=sharded, loader=loader)
        except AssertionError as error:
            lines = [line for line in str(error).splitlines() if "Error" in line]
            print(row, lines[-1] if lines else error, "|", flush=True)
            continue
        same = "equal" if found.decisions == expected[sharded, loader].decisions else "differ"
        odd = Counter(
            count for epoch in range(len(found.metrics)) for count in (found.rows[epoch][row] for row in range(ROWS))
        )
        odd.pop(1, None)
        said = " ".join(line.partition("the epoch continues ")[2] for line in found.said.splitlines())
        print(row, found.resumed, "|", same, "|", dict(odd) or 0, "|", said, "|", flush=True)


def rank() -> None:
    """Run one rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    train(Path(sys.argv[1]), dist.get_rank(), dist.get_world_size(), **json.loads(sys.argv[2]))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    rank() if len(sys.argv) > 1 else main()
