"""Scenes of ranks over which a model is sharded (FSDP2), one after the other.

``python -m tests.distributed.shards FOLDER SCENE...`` is one rank, as in ``scenes``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import logging.handlers
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

from trainbus import CheckpointError, Decision, Run, SettingsError, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import HasActivations, HasGradients, HasTrace, missing
from trainbus.checkpoints import remove
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard

from .jobs import report

SCORES = [5.0, 3.0, 3.5, 3.6, 2.0, 2.5, 2.6, 2.7, 2.8]
ROWS, BATCH = 32, 8
SCENES: dict[str, Callable[[int, int], Any]] = {}


def scene(play: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    SCENES[play.__name__] = play
    return play


def subject(seed: int = 1, *, alone: bool = True, sharded: bool = True) -> TorchSubject:
    """Return a small network, its parameters sharded over the ranks; 9 rows do not divide evenly by 2 or 4.

    With ``alone`` each rank has its own buffers and random numbers, so that the number of ranks matters.
    """
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(6, 9), nn.BatchNorm1d(9) if alone else nn.Tanh(), nn.Dropout(0.3 * alone), nn.Linear(9, 1)
    )
    if sharded:
        for layer in (model[0], model[3]):
            fully_shard(layer)
        fully_shard(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 8], gamma=0.5)
    return TorchSubject(model, optimizer, scheduler=scheduler, timeout=60)


def full_weights(trained: TorchSubject) -> dict[str, torch.Tensor]:
    """Return the weights, gathered from all ranks."""
    state = trained.model.state_dict()
    return {
        name: (each.full_tensor() if hasattr(each, "full_tensor") else each).clone() for name, each in state.items()
    }


def digest(trained: TorchSubject) -> str:
    """Return the digest of all weights, and of the buffers that only this rank has."""
    data = hashlib.sha256()
    for name, tensor in full_weights(trained).items():
        data.update(name.encode() + tensor.numpy().tobytes())
    return data.hexdigest()[:16]


class Breaks(Exception):
    """An error that interrupts the training as if the job had been killed."""


def train(
    folder: str,
    rank: int,
    size: int,
    *,
    breaks: tuple[int, int] | None = None,
    alone: bool = True,
    listed: tuple[Any, ...] = (),
    resume: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """A training whose every global batch has the same rows for any number of ranks."""
    trained = subject(alone=alone)
    torch.manual_seed(100 + rank)
    x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(7))
    watch = {"monitor": "val_score", "mode": "min"}
    callbacks = [
        EarlyStopping(**watch, patience=3, restore_best_weights=True),
        ReduceLROnPlateau(**watch, patience=2, factor=0.5),
        ModelCheckpoint(f"{folder}/m-{{epoch}}", **watch, keep=2, save_last=True, **options),
        *listed,
    ]
    with Run(trained, callbacks, resume=resume, verbose=0) as run:
        for epoch in run.epochs(len(SCORES)):
            order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch))
            for batch, rows in enumerate(run.batches(order.split(BATCH))):
                if (epoch, batch) == breaks:
                    raise Breaks
                own = x[rows[rank::size]]
                trained.optimizers["optimizer"].zero_grad()
                loss = (trained.model(own) - own.sum(1, keepdim=True)).square().mean()
                share = size * len(own) / len(rows)  # ranks average their gradients; 8 rows do not divide by 3
                (share * loss).backward()
                trained.optimizers["optimizer"].step()
                run.log(loss=loss, count=len(own))
            trained.schedulers["scheduler"].step()
            run.log(val_score=SCORES[epoch])
    return {
        "loss": [float(value) for value in run.history["loss"]],
        "rates": [float(value) for value in run.history["learning_rate"]],
        "reason": run.result.reason,
        "files": [str(Path(path).name) for path in run.state.files],
        "weights": digest(trained),
        "resumed": None if run.resumed is None else run.resumed.step,
    }


@scene
def uninterrupted(rank: int, size: int) -> Any:
    """An uninterrupted training whose checkpoints are written while it continues."""
    return train("uninterrupted", rank, size)


@scene
def foreground(rank: int, size: int) -> Any:
    """The same, waiting for its checkpoints."""
    return train("foreground", rank, size, background=False)


@scene
def interrupted(rank: int, size: int) -> Any:
    """The same, interrupted twice, once within an epoch, and resumed."""
    for at in ((3, 0), (6, 2)):
        with suppress(Breaks):
            train("interrupted", rank, size, breaks=at, resume="auto")
    return train("interrupted", rank, size, resume="auto")


@scene
def first_part(rank: int, size: int) -> Any:
    """Half of a training that does not depend on the number of ranks, for another number of ranks to continue."""
    with suppress(Breaks):
        train("part", rank, size, breaks=(3, 0), alone=False)
    return None


@scene
def second_part(rank: int, size: int) -> Any:
    """The other half."""
    return train("part", rank, size, alone=False, resume="auto")


@scene
def whole_training(rank: int, size: int) -> Any:
    """The two halves in one run."""
    return train("whole", rank, size, alone=False)


@scene
def snapshots(rank: int, size: int) -> Any:
    """Compare each checkpoint written during the training with the weights when it was decided."""
    seen: dict[int, str] = {}

    class Looks:
        @hookimpl
        def on_epoch_end(self, run: Run, epoch: int) -> None:
            seen[epoch] = digest(run.subject)

    train("snapshots", rank, size, listed=(Looks(), ModelCheckpoint("snapshots/each-{epoch}")))
    found = {}
    for epoch in seen:
        again = subject(seed=epoch + 50)
        again.load(f"snapshots/each-{epoch + 1}.dcp")
        found[epoch] = digest(again)
    return [seen, found]


@scene
def full_disk(rank: int, size: int) -> Any:
    """The disk is full for the last rank alone, in one epoch."""
    found: list[Any] = []

    class Fills:
        @hookimpl
        def on_epoch_end(self, run: Run, epoch: int) -> None:
            if rank == size - 1:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (1_000 if epoch == 1 else hard, hard))

        @hookimpl
        def on_checkpoint_error(self, path: Any, step: int, error: CheckpointError) -> None:
            found.append([Path(path).name, step, str(error)])

        @hookimpl
        def on_decision(self, run: Run, decision: Decision) -> None:
            found.append([run.epoch, sorted(type(action).__name__ for action in decision)])

    saver = ModelCheckpoint("full/best.dcp", on_error="warn", background=False)
    trained = subject()
    with Run(trained, [Fills(), saver], verbose=0) as run:
        for epoch in run.epochs(3):
            run.log(val_loss=float(-epoch))
            if epoch == 2:
                between = {path.name: path.is_dir() for path in Path("full").iterdir()}
    return [found, between]


@scene
def killed(rank: int, size: int) -> Any:
    """Under torchrun: the last rank dies in the middle of writing its part, once."""
    mark = Path("killed-once")

    class Dies:
        @hookimpl
        def on_epoch_begin(self, run: Run, epoch: int) -> None:
            if epoch == 2 and rank == size - 1 and not mark.exists():
                mark.touch()
                real = os.fsync

                def dying(handle: Any) -> None:
                    real(handle)
                    os.kill(os.getpid(), signal.SIGKILL)

                os.fsync = dying

    return train("killed", rank, size, listed=(Dies(),), resume="auto")


@scene
def damaged(rank: int, size: int) -> Any:
    """A bit flips in one part after the other of the newest checkpoint, which every rank would resume from."""
    found: dict[str, Any] = {}
    with suppress(Breaks):
        train("damaged", rank, size, breaks=(3, 1))
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("trainbus").addHandler(handler)
    if rank == 0:
        remove(Path("damaged/last.dcp"))  # the same step as the newest of the others
    dist.barrier()
    for number, part in enumerate(sorted(path for path in Path("damaged/m-3.dcp").rglob("*") if path.is_file())):
        copy = Path(f"damaged-{number}")
        if rank == 0:
            shutil.copytree("damaged", copy / "damaged")
            content = part.read_bytes()
            (copy / part).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        dist.barrier()
        with contextlib.chdir(copy):
            listed = ModelCheckpoint("damaged/m-{epoch}", monitor="val_score", mode="min", keep=2, save_last=True)
            with Run(subject(seed=7), listed, resume="auto", verbose=0) as run:
                resumed = run.resumed
        found[part.name] = [resumed and f"{resumed.path.name} {resumed.step}", said[:1]]
        said.clear()
    logging.getLogger("trainbus").removeHandler(handler)
    return found


@scene
def plain(rank: int, size: int) -> Any:
    """A checkpoint of several ranks, loaded into a model that is not sharded."""
    trained = subject(seed=9, sharded=False)
    trained.load("uninterrupted/last.dcp")
    return digest(trained)


@scene
def last(rank: int, size: int) -> Any:
    """The last checkpoint, loaded into a model that is sharded over the current number of ranks."""
    trained = subject(seed=9)
    trained.load("uninterrupted/last.dcp")
    return digest(trained)


@scene
def inspected(rank: int, size: int) -> Any:
    """TensorBoard with all options, on rank 0, and what it and others report as unavailable."""
    lines = logging.handlers.BufferingHandler(1000)
    logging.getLogger("trainbus").addHandler(lines)
    found: dict[str, Any] = {}
    for kind in ("classic", "sharded"):
        torch.manual_seed(1)
        model: Any = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 1))
        model = FullyShardedDataParallel(model, device_id=torch.device("cpu")) if kind == "classic" else model
        if kind == "sharded":
            fully_shard(model)
        x = torch.randn(8, 6)
        trained = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.02), probe=x, timeout=60)
        with Run(trained, [TensorBoard(f"{kind}-logs"), EarlyStopping(monitor="loss")], verbose=0) as run:
            for _ in run.epochs(2):
                loss = model(x).square().mean()
                loss.backward()
                trained.optimizers["optimizer"].step()
                run.log(loss=loss)
        refused: list[str] = []
        inside = TensorBoard("inside", histogram_freq=1)
        for callback in (inside, ModelCheckpoint("m"), EarlyStopping(monitor="loss", restore_best_weights=True)):
            try:
                Run(trained, callback)
            except SettingsError as error:
                refused.append(str(error))
        nodes = [node.name for node in trained.graph()]
        looks = (HasActivations, HasTrace, HasGradients)
        found[kind] = [run.result.epochs, nodes, refused, [str(missing(trained, each)) for each in looks]]
    return found, [record.getMessage() for record in lines.buffer]


def main() -> None:
    """Run one rank."""
    os.chdir(sys.argv[1])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    found = {name: SCENES[name](rank, size) for name in sys.argv[2:]}
    report(found)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
