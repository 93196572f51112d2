"""SIGKILL at random times during sharded saves by two ranks, and the files at the path afterwards.

``python -m tests.distributed.shard_kills 200`` kills 200 jobs that save as trainbus does, while the training waits
and while it continues, and 100 that save by ``torch.distributed.checkpoint.save`` alone, and prints a table. One
rank or both are killed; the other one, half a second later.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.fsdp import fully_shard

from tests.reliability.kills import BETWEEN, UNUSABLE, clear
from tests.reliability.save_progress import SaveProgress, SaveReporter
from trainbus import CheckpointError, Run, journal
from trainbus.adapters.torch import TorchSubject
from trainbus.checkpoints import manifest_of, read, remove_debris
from trainbus.plugins import ModelCheckpoint
from trainbus.storage.atomic_file import STAGED

RANKS, WIDTH = 2, 700
NAME = "best.dcp"


def carry(model: torch.nn.Module, number: int) -> None:
    """Set all weights of this rank to this number."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.to_local().fill_(number)


def save_with_trainbus(path: Path, first: int, progress: SaveProgress, *, background: bool) -> None:
    """A run whose every epoch ends with a save."""
    model = fully_shard(torch.nn.Linear(WIDTH, WIDTH))
    saver = ModelCheckpoint(str(path), background=background)
    with Run(TorchSubject(model, timeout=20), [SaveReporter(progress), saver], verbose=0) as run:
        for epoch in run.epochs(first + BETWEEN, initial_epoch=first):
            carry(model, epoch)
            run.log(loss=0.0)


def save_alone(path: Path, first: int, progress: SaveProgress) -> None:
    """Save as people do by hand: each save into the directory of the last one."""
    model = fully_shard(torch.nn.Linear(WIDTH, WIDTH))
    for number in range(first, first + BETWEEN):
        carry(model, number)
        if dist.get_rank() == 0:
            progress.begin(number)
        dcp.save({"model": model.state_dict()}, checkpoint_id=path)
        if dist.get_rank() == 0:
            progress.end(number)


WRITERS: dict[str, Callable[[Path, int, SaveProgress], None]] = {
    "trainbus": lambda *given: save_with_trainbus(*given, background=False),
    "background": lambda *given: save_with_trainbus(*given, background=True),
    "dcp.save": save_alone,
}


def killed(work: Callable[[SaveProgress], None]) -> tuple[int, int]:
    """Fork the ranks, let them save twice, kill them within the time of two more; return the last saved and begun."""
    progress = SaveProgress()
    with tempfile.TemporaryDirectory() as folder:
        children = [os.fork() or _rank(work, progress, rank, folder) for rank in range(RANKS)]
        os.read(progress.done, 1)
        began = time.perf_counter()
        os.read(progress.done, 1)
        time.sleep(random.uniform(0, 2 * (time.perf_counter() - began)))
        victims = random.choice([[0], [1], [0, 1]])
        for rank in victims:
            os.kill(children[rank], signal.SIGKILL)
        found = progress.read()
        time.sleep(0.5 * (len(victims) < RANKS))  # a surviving rank may do anything meanwhile
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    progress.close()
    return found


def _rank(work: Callable[[SaveProgress], None], progress: SaveProgress, rank: int, folder: str) -> int:
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
        work(progress)
    except BaseException:  # noqa: BLE001 - what is left of the job waits to be killed
        time.sleep(60)
    finally:
        os._exit(1)


def number_in(path: Path) -> int | None:
    """Return the number that all weights have; None if they differ."""
    state = {"model": {"weight": torch.zeros(WIDTH, WIDTH), "bias": torch.zeros(WIDTH)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(state, checkpoint_id=path, no_dist=True)
    found = {number for tensor in state["model"].values() for number in np.unique(tensor.numpy()).tolist()}
    return int(found.pop()) if len(found) == 1 else None


def verdict(path: Path, saved: int, going: int, *, own: bool) -> str:
    """Return the state of the path in one word."""
    if not path.exists():
        return "missing"
    try:
        number = number_in(path)
    except (Exception, dcp.api.CheckpointException):  # noqa: BLE001
        return "unreadable"
    if number is None:
        return "torn"
    if number != saved and not saved <= number <= going:
        return "lost"
    try:
        return "complete" if not own or read(path).entry.epoch == number else "other state"
    except CheckpointError:
        return "no state"


def trials(writer: str, kills: int) -> dict[str, Any]:
    """Kill so many jobs that save over one path; return how often each verdict was given, and files left behind."""
    counted, own = Counter[str](), writer != "dcp.save"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        for trial in range(1, kills + 1):
            saved, going = killed(lambda progress, first=trial * BETWEEN: WRITERS[writer](path, first, progress))
            found = verdict(path, saved, going, own=own)
            counted[found] += 1
            counted["inside"] += going != 0
            counted["unusable inside"] += going != 0 and found != "complete"
            counted["debris"] += any(each.name.startswith(STAGED) for each in Path(folder).iterdir())
            if not own:
                clear(Path(folder))
                continue
            remove_debris(Path(folder))
            known = {path.name, manifest_of(path).name, ".trainbus.lock", journal.NAME}
            counted["left"] += not {each.name for each in Path(folder).iterdir()} <= known or len(os.listdir(path)) != 2
    return {**counted, "kills": kills}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    kills = parser.parse_args().kills
    torch.set_num_threads(1)  # forked processes have no pool of threads
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    print("| ranks | writer | kills | inside a save | unusable | P(unusable \\| killed inside) | debris, all swept |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for writer in WRITERS:
        own = writer != "dcp.save"
        counted = trials(writer, kills if own else kills // 2)
        words = [f"{counted[word]} {word}" for word in UNUSABLE if counted.get(word)]
        debris = f"{counted['debris']}, {'no' if counted['left'] else 'yes'}" if own else ""
        row = (RANKS, writer, counted["kills"], counted["inside"], ", ".join(words) or 0)
        share = f"{counted['unusable inside'] / counted['inside']:.2f}"
        print("|", " | ".join(map(str, (*row, share, debris))), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
