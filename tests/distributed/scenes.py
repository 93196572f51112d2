"""What ranks go through together, one scene after the other in the same processes, and what each tells of it.

`python -m tests.distributed.scenes FOLDER [SCENE ...]` is one rank; the job's size and its own number come from the
environment, as for `torch.distributed`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from trainbus import Decision, Run, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .jobs import tell

SCORES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.6, 3.7, 2.0, 2.5, 2.6, 2.7, 2.8]
SCENES: dict[str, Callable[[int, int], Any]] = {}


def scene(play: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    SCENES[play.__name__] = play
    return play


def subject(seed: int = 1, *, wrapped: bool = True, **options: Any) -> TorchSubject:
    """A small network, its replicas kept alike by DDP."""
    torch.manual_seed(seed)
    model: nn.Module = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    if wrapped:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return TorchSubject(model, optimizer, timeout=60, **options)


def step(trained: TorchSubject, x: torch.Tensor) -> float:
    trained.optimizers["optimizer"].zero_grad()
    loss = (trained.model(x) - x.sum(1, keepdim=True)).square().mean()
    loss.backward()
    trained.optimizers["optimizer"].step()
    return float(loss.detach())


def digest(trained: TorchSubject) -> str:
    weights = hashlib.sha256()
    for name, array in trained.weights():
        weights.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return weights.hexdigest()[:16]


def callbacks(folder: str, **options: Any) -> list[Any]:
    watch = {"monitor": "val_score", "mode": "min"}
    return [
        EarlyStopping(**watch, patience=4, restore_best_weights=True),
        ReduceLROnPlateau(**watch, patience=2, factor=0.5),
        ModelCheckpoint(f"{folder}/m-{{epoch}}", **watch, keep=2, save_last=True, **options),
    ]


class Witness:
    """Writes down what is decided, on every rank."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        self.told.append([run.epoch, run.batch, sorted(str(action) for action in decision)])

    @hookimpl
    def on_checkpoint(self, run: Run, checkpoint: Any) -> None:
        self.told.append([run.epoch, run.batch, f"committed {checkpoint.path}"])


def outcome(run: Run, **more: Any) -> dict[str, Any]:
    assert isinstance(run.subject, TorchSubject)
    history = {name: [float(value) for value in values] for name, values in run.history.items()}
    return {
        "history": history,
        "reason": run.result.reason,
        "files": [str(path) for path in run.files],
        "rates": dict(run.subject.learning_rates()),
        "weights": digest(run.subject),
        "step": run.step,
        **more,
    }


def caught(play: Callable[[], Any]) -> str:
    """What a run raises, in words."""
    try:
        play()
    except BaseException as error:  # noqa: BLE001 - it is what the scene is about
        notes = "".join(f" [{note}]" for note in getattr(error, "__notes__", ()))
        return f"{type(error).__name__}: {error}{notes}"
    return "nothing"


@scene
def training(rank: int, size: int) -> Any:
    """A whole training, in which every rank has other data, and logs other scores, whose mean is the scripted one."""
    random.seed(rank)
    witness = Witness()
    trained = subject()
    torch.manual_seed(100 + rank)
    with Run(trained, [*callbacks("training"), witness], progress=False) as run:
        meetings = []
        for epoch in run.epochs(len(SCORES)):
            for _ in run.batches(range(4)):
                run.log(loss=step(trained, torch.randn(8, 6)), count=8)
            run.log(val_score=SCORES[epoch] + rank - (size - 1) / 2)
            meetings.append(run._agreement.exchanges)
    return outcome(run, told=witness.told, seconds=0)


@scene
def plain_epochs(rank: int, size: int) -> Any:
    """Epochs at which nothing is decided, and how many messages each of them costs."""
    trained = subject()
    messages = []
    with Run(trained, EarlyStopping(monitor="loss", patience=100), progress=False) as run:
        for _ in run.epochs(5):
            messages.append(run._agreement.exchanges)
            for _ in run.batches(range(50)):
                run.log(loss=1.0)
    return [after - before for before, after in itertools.pairwise(messages)]


@scene
def reductions(rank: int, size: int) -> Any:
    """Every way to reduce, in two batches."""
    with Run(subject(), progress=False) as run:
        for _ in run.epochs(2):
            for batch in run.batches(range(2)):
                value = float(10 * batch + rank)
                run.log(mean=value, count=rank + 1)
                run.log({f"{how}": value for how in ("sum",)}, reduce="sum")
                run.log(max=value, reduce="max")
                run.log(min=value, reduce="min")
                run.log(own=value, reduce=None)
                run.log(array=np.array([value, -value]))
            if rank == 0:
                run.log(val_only=7.0)
            if rank == size - 1 and run.epoch == 1:
                run.log(late=8.0)
    return {name: [np.asarray(value).tolist() for value in values] for name, values in run.history.items()}


@scene
def batches(rank: int, size: int) -> Any:
    """Saves inside of epochs."""
    witness = Witness()
    trained = subject()
    with Run(trained, [ModelCheckpoint("batches/m-{step}", save_freq=3), witness], progress=False) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(5)):
                run.log(loss=step(trained, torch.randn(8, 6)))
    return outcome(run, told=witness.told)


@scene
def uneven_batches(rank: int, size: int) -> Any:
    """Every rank has one batch more than the one before."""
    witness = Witness()
    trained = subject(wrapped=False)
    with Run(trained, [ModelCheckpoint("uneven/m-{epoch}-{batch}", save_freq=2), witness], progress=False) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(4 + rank)):
                run.log(loss=1.0)
    return {"told": witness.told, "epochs": run.result.epochs, "steps": run.step}


@scene
def stop_of_the_loop(rank: int, size: int) -> Any:
    """One rank's loop has seen enough, in an epoch without end."""
    trained = subject()
    with Run(trained, EarlyStopping(monitor="loss", patience=50), progress=False) as run:
        for _ in run.epochs(3):
            for batch in run.batches(itertools.count()):
                run.log(loss=step(trained, torch.randn(8, 6)))
                if (rank, batch) == (size - 1, 3):
                    run.stop("seen enough")
    return outcome(run, epochs=run.result.epochs)


class Raises:
    """Raises in one hook of one rank."""

    def __init__(self, hook: str, here: bool) -> None:
        def fail(self: object) -> None:
            if here:
                raise ValueError(f"no {hook}")

        self.__dict__[hook] = hookimpl(lambda: fail(self))


@scene
def raising_plugins(rank: int, size: int) -> Any:
    """A plugin that raises on the last rank, in each hook."""
    told = {}
    for hook in ["on_train_begin", "on_epoch_begin", "on_batch_begin", "on_batch_end", "on_validation_begin",
                 "on_validation_end", "on_epoch_end", "on_decision", "on_checkpoint", "on_train_end"]:  # fmt: skip
        trained = subject()

        def play() -> None:
            listed = [Raises(hook, rank == size - 1), ModelCheckpoint(f"raising-{hook}/m")]
            with Run(trained, listed, progress=False) as run:
                for _ in run.epochs(2):
                    for _ in run.batches(range(2)):
                        run.log(loss=step(trained, torch.randn(8, 6)))
                    with run.validation():
                        run.log(loss=1.0)

        told[hook] = caught(play)
    return told


@scene
def missing_metric(rank: int, size: int) -> Any:
    """No rank logs what is monitored."""

    def play() -> None:
        with Run(subject(), EarlyStopping(monitor="val_loss"), progress=False) as run:
            for _ in run.epochs(2):
                run.log(loss=1.0)

    return caught(play)


@scene
def other_callbacks(rank: int, size: int) -> Any:
    """One rank lists what the others do not."""

    def play(listed: list[Any]) -> str:
        def one() -> None:
            with Run(subject(), listed, progress=False):
                pass

        return caught(one)

    return [
        play([EarlyStopping(monitor="loss", patience=1 + rank)]),
        play([ModelCheckpoint("other/m")] if rank == 0 else []),
    ]


@scene
def drifting_rates(rank: int, size: int) -> Any:
    """A schedule that only one rank follows."""
    trained = subject()

    def play() -> None:
        with Run(trained, progress=False) as run:
            for _ in run.epochs(3):
                run.log(loss=1.0)
                if rank == 1:
                    trained.set_learning_rates({"learning_rate": 0.05})

    return caught(play)


@scene
def different_loops(rank: int, size: int) -> Any:
    """Rank 0 leaves its loop over epochs before the others."""

    def play() -> None:
        with Run(subject(), progress=False) as run:
            for epoch in run.epochs(3):
                if rank == 0 and epoch == 1:
                    break
                run.log(loss=1.0)

    return caught(play)


def main() -> None:
    """One rank."""
    os.chdir(sys.argv[1])
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    told = {}
    for name in sys.argv[2:] or SCENES:
        begin = time.monotonic()
        try:
            told[name] = SCENES[name](rank, size)
        except Exception:  # noqa: BLE001
            told[name] = f"failed: {traceback.format_exc()}"
        print(name, rank, round(time.monotonic() - begin, 2), flush=True)
    tell(told)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
