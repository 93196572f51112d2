"""Scenes that all ranks run in the same processes, one after the other, and the report of each rank.

``python -m tests.distributed.scenes FOLDER [SCENE ...]`` is one rank; the job's size and its own number come from the
environment, as for ``torch.distributed``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

import trainbus
from trainbus import Decision, Run, decision, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.failures import LOG
from trainbus.plugins import (
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
    Watchdog,
)
from trainbus.testing import EventRecorder

from .jobs import report

SCORES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.6, 3.7, 2.0, 2.5, 2.6, 2.7, 2.8]
SCENES: dict[str, Callable[[int, int], Any]] = {}


def scene(play: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    SCENES[play.__name__] = play
    return play


def subject(seed: int = 1, *, wrapped: bool = True) -> TorchSubject:
    """Return a small network, its replicas synchronized by DDP."""
    torch.manual_seed(seed)
    model: nn.Module = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    if wrapped and dist.is_initialized():
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return TorchSubject(model, optimizer, timeout=60)


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


def recorder() -> EventRecorder:
    """Record what is decided and committed."""
    return EventRecorder("on_decision", "on_checkpoint")


def recorded(by: EventRecorder) -> list[Any]:
    """Return what was decided and committed, in order, as JSON data."""
    return [
        [
            values["epoch"],
            values["batch"],
            sorted(map(str, values["decision"])) if hook == "on_decision" else f"committed {values['checkpoint'].path}",
        ]
        for hook, values in by.events
    ]


def outcome(run: Run, **more: Any) -> dict[str, Any]:
    assert isinstance(run.subject, TorchSubject)
    history = {name: [float(value) for value in values] for name, values in run.history.items()}
    return {
        "history": history,
        "reason": run.result.reason,
        "files": [str(path) for path in run.state.files],
        "rates": dict(run.subject.learning_rates()),
        "weights": digest(run.subject),
        "step": run.step,
        **more,
    }


def caught(play: Callable[[], Any]) -> str:
    """Return the error of a run as text."""
    try:
        play()
    except BaseException as error:  # noqa: BLE001 - it is what the scene is about
        notes = "".join(f" [{note}]" for note in getattr(error, "__notes__", ()))
        return f"{type(error).__name__}: {error}{notes}"
    return "nothing"


@scene
def training(rank: int, size: int) -> Any:
    """A complete training in which every rank has other data, and logs other scores, whose mean is the scripted one."""
    random.seed(rank)
    witness = recorder()
    trained = subject()
    torch.manual_seed(100 + rank)
    with Run(trained, [*callbacks("training"), witness], verbose=0) as run:
        for epoch in run.epochs(len(SCORES)):
            for _ in run.batches(range(4)):
                run.log(loss=step(trained, torch.randn(8, 6)), count=8)
            run.log(val_score=SCORES[epoch] + rank - (size - 1) / 2)
    return outcome(run, events=recorded(witness))


@scene
def plain_epochs(rank: int, size: int) -> Any:
    """Epochs at which nothing is decided, and how many messages each of them costs."""
    trained = subject()
    messages = []
    with Run(trained, EarlyStopping(monitor="loss", patience=100), verbose=0) as run:
        for _ in run.epochs(5):
            messages.append(run._life.group._coordinator.rendezvous.exchanges)
            for _ in run.batches(range(50)):
                run.log(loss=1.0)
    return [after - before for before, after in itertools.pairwise(messages)]


@scene
def reductions(rank: int, size: int) -> Any:
    """Every reduction, in two batches."""
    with Run(subject(), verbose=0) as run:
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
    """Saves within epochs."""
    witness = recorder()
    trained = subject()
    with Run(trained, [ModelCheckpoint("batches/m-{step}", save_freq=3), witness], verbose=0) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(5)):
                run.log(loss=step(trained, torch.randn(8, 6)))
    return outcome(run, events=recorded(witness))


@scene
def looks_at_steps(rank: int, size: int) -> Any:
    """Looks within epochs at metrics whose mean over the ranks decides otherwise than any rank's own values would."""
    found = []
    for value in ("last", "mean"):
        witness, trained = recorder(), subject()
        listed = [
            EarlyStopping(monitor="loss", mode="min", patience=3, every="2 steps", value=value),
            ReduceLROnPlateau(monitor="loss", mode="min", patience=1, factor=0.5, every="1 step", value=value),
            EarlyStopping(monitor="val_loss", mode="min", patience=2, every="1 step"),
            witness,
        ]
        with Run(trained, listed, verbose=0) as run:
            for epoch in run.epochs(3):
                for number in run.batches(range(6)):
                    step(trained, torch.randn(8, 6))
                    mean = 9.0 - epoch * 6 - number if epoch == 0 else 5.0
                    run.log(loss=mean + 3 * number * (rank - (size - 1) / 2), count=2)
                    if number == 3:
                        with run.validation():
                            run.log(loss=1.0 + rank - (size - 1) / 2)
        found.append({"events": recorded(witness), "steps": run.step, "reason": run.result.reason})
    return found


@scene
def looks_at_shares(rank: int, size: int) -> Any:
    """Looks at shares of the training that end inside epochs and with them; a validation counts once on many ranks."""
    witness, trained = recorder(), subject()
    listed = [
        ReduceLROnPlateau(monitor="loss", mode="min", patience=1, factor=0.5, every="12.5%"),
        EarlyStopping(monitor="val_loss", mode="min", patience=2, every="12.5%"),
        witness,
    ]
    with Run(trained, listed, verbose=0) as run:
        for _ in run.epochs(4):
            for number in run.batches(range(6)):
                step(trained, torch.randn(8, 6))
                run.log(loss=5.0 + 3 * number * (rank - (size - 1) / 2), count=2)
                if number == 1:
                    with run.validation():
                        run.log(loss=1.0 + rank - (size - 1) / 2)
    return {"events": recorded(witness), "steps": run.step, "reason": run.result.reason}


@scene
def uneven_batches(rank: int, size: int) -> Any:
    """Every rank has one batch more than the one before."""
    witness = recorder()
    trained = subject(wrapped=False)
    with Run(trained, [ModelCheckpoint("uneven/m-{epoch}-{batch}", save_freq=2), witness], verbose=0) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(4 + rank)):
                run.log(loss=1.0)
    return {"events": recorded(witness), "epochs": run.result.epochs, "steps": run.step}


@scene
def stop_of_the_loop(rank: int, size: int) -> Any:
    """One rank's loop stops the run, in an epoch without end."""
    trained = subject()
    with Run(trained, EarlyStopping(monitor="loss", patience=50), verbose=0) as run:
        for _ in run.epochs(3):
            for batch in run.batches(itertools.count()):
                run.log(loss=step(trained, torch.randn(8, 6)))
                if (rank, batch) == (size - 1, 3):
                    run.stop("seen enough")
    return outcome(run, epochs=run.result.epochs)


@scene
def events_of_the_loop(rank: int, size: int) -> Any:
    """All ranks emit one event, rank 0 alone another; both are decided on all, beside a schedule."""
    trained = subject()
    cut = trainbus.listens_to("hard", every=2)(lambda: decision.scale_learning_rate(0.5))
    stop = trainbus.listens_to("enough", once=3)(lambda: decision.stop("rank 0 has seen enough"))
    recording = recorder()
    schedule = LearningRateScheduler(lambda epoch: 0.02 * 0.5**epoch)
    with Run(trained, [trainbus.LambdaCallback(cut, stop), schedule, recording], verbose=0) as run:
        for _ in run.epochs(6):
            for batch in run.batches(range(2)):
                run.log(loss=step(trained, torch.randn(8, 6)))
                if batch == 0:
                    run.emit("hard")
            with run.validation():
                run.log(loss=1.0)
            if rank == 0:
                run.emit("enough")
    return outcome(run, epochs=run.result.epochs)


HOOKS = [hook for hook in trainbus.Hooks.__dict__ if hook.startswith("on_") and hook not in
         ("on_exception", "on_checkpoint_error")]  # fmt: skip
"""The hooks that a training without other failures calls."""


def raises(hook: str) -> object:
    """A plugin that raises in one hook."""

    def fail() -> None:
        raise ValueError(f"no {hook}")

    plugin = SimpleNamespace()
    setattr(plugin, hook, hookimpl(fail))
    return plugin


def listens(hook: str) -> object:
    """Return the same plugin without the error."""
    plugin = SimpleNamespace()
    setattr(plugin, hook, hookimpl(lambda: None))
    return plugin


def short(listed: list[Any]) -> Callable[[], None]:
    """A training in which every hook is called."""

    def play() -> None:
        trained = subject()
        with Run(trained, listed, verbose=0) as run:
            for _ in run.epochs(2):
                for _ in run.batches(range(2)):
                    run.log(loss=step(trained, torch.randn(8, 6)))
                with run.validation():
                    run.log(loss=1.0)

    return play


@scene
def raising_plugins(rank: int, size: int) -> Any:
    """A plugin that raises on the last rank, in each hook."""
    return {
        hook: caught(short([(raises if rank == size - 1 else listens)(hook), ModelCheckpoint(f"raising/{hook}")]))
        for hook in HOOKS
    }


@scene
def raising_observer(rank: int, size: int) -> Any:
    """An observer that raises, on rank 0 only."""
    plugin: Any = raises("on_epoch_end")
    plugin.critical = False
    return caught(short([plugin]))


@scene
def raising_loop(rank: int, size: int) -> Any:
    """The loop of the last rank raises; the others finish the epoch without it."""

    def play() -> None:
        with Run(subject(wrapped=False), EarlyStopping(monitor="loss"), verbose=0) as run:
            for _ in run.epochs(2):
                for batch in run.batches(range(2)):
                    run.log(loss=1.0)
                    if (rank, batch) == (size - 1, 1):
                        raise ValueError("no more data")

    return caught(play)


@scene
def full_disk(rank: int, size: int) -> Any:
    """A full disk: on rank 0, which writes, and then on the others, which do not."""
    reports = {}
    for where in (0, 1):
        for on_error in ("raise", "warn"):
            folder = f"full-{where}-{on_error}"
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            listed = [ModelCheckpoint(f"{folder}/m-{{epoch}}", on_error=on_error, background=False), recorder()]
            if rank == where:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            try:
                error = caught(short(listed))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            dist.barrier()
            reports[folder] = [error, recorded(listed[1]), sorted(os.listdir(folder))]
    return reports


@scene
def other_files(rank: int, size: int) -> Any:
    """Ranks that do not see the same files resume from rank 0's, or not at all."""
    Path(f"seen-{rank}").mkdir()
    os.chdir(f"seen-{rank}")
    try:
        for seed in range(2):  # what the others have under the same name has another content
            torch.manual_seed(seed + rank)
            model = nn.Linear(2, 1)
            alone = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1))
            alone.ranks = lambda: None  # type: ignore[method-assign]
            with Run(alone, ModelCheckpoint("m"), verbose=0) as run:
                for _ in run.epochs(1):
                    run.log(loss=1.0)
        model = nn.Linear(2, 1)

        def play() -> None:
            with Run(TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1)), ModelCheckpoint("m"),
                     verbose=0, resume="auto"):  # fmt: skip
                pass

        return caught(play)
    finally:
        os.chdir("..")


@scene
def validation_on_rank_0(rank: int, size: int) -> Any:
    """Only rank 0 validates: what it logs counts for all."""
    with Run(subject(), EarlyStopping(monitor="val_loss", patience=2), verbose=0) as run:
        for _ in run.epochs(9):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            if rank == 0:
                with run.validation():
                    run.log(loss=1.0)
    return outcome(run)


@scene
def decided_by_the_loop(rank: int, size: int) -> Any:
    """A decision of one rank's loop is executed by all at the end of the epoch."""
    witness = recorder()
    with Run(subject(), witness, verbose=0) as run:
        for epoch in run.epochs(3):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            if (rank, epoch) == (size - 1, 1):
                run.decide(decision.save("by-hand.pt") | decision.scale_learning_rate(0.5))
    return outcome(run, events=recorded(witness))


@scene
def missing_metric(rank: int, size: int) -> Any:
    """No rank logs what is monitored."""

    def play() -> None:
        with Run(subject(), EarlyStopping(monitor="val_loss"), verbose=0) as run:
            for _ in run.epochs(2):
                run.log(loss=1.0)

    return caught(play)


@scene
def other_callbacks(rank: int, size: int) -> Any:
    """One rank lists what the others do not."""

    def play(listed: list[Any]) -> str:
        def one() -> None:
            with Run(subject(), listed, verbose=0):
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
        with Run(trained, verbose=0) as run:
            for _ in run.epochs(3):
                run.log(loss=1.0)
                if rank == 1:
                    trained.set_learning_rates({"learning_rate": 0.05})

    return caught(play)


@scene
def different_loops(rank: int, size: int) -> Any:
    """Rank 0 leaves its loop over epochs before the others."""

    def play() -> None:
        with Run(subject(), verbose=0) as run:
            for epoch in run.epochs(3):
                if rank == 0 and epoch == 1:
                    break
                run.log(loss=1.0)

    return caught(play)


@scene
def asked_to_end(rank: int, size: int) -> Any:
    """A signal or a stop file in an epoch without end; a handler records the signal that would end the process."""
    cases = {"SIGTERM": [[0], [size - 1], list(range(size))], "SIGINT": [[1]], "stop": [[1]], "interrupt": [[0], [1]]}
    return {
        f"{what} at {who}": asked(what, rank in who, rank, f"asked-{what}-{len(who)}-{who[0]}")
        for what, whom in cases.items()
        for who in whom
    }


def asked(what: str, here: bool, rank: int, folder: str) -> Any:
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    trained = subject()
    run = Run(trained, ModelCheckpoint(f"{folder}/m"), verbose=0)

    def play() -> None:
        with run:
            for _ in run.epochs(3):
                for batch in run.batches(itertools.count()):
                    run.log(loss=step(trained, torch.randn(8, 6)))
                    if here and batch == 3 + rank and what == "stop":
                        Path(folder, "stop").touch()
                    elif here and batch == 3 + rank and what == "interrupt":
                        run.interrupt("the clock")
                    elif here and batch == 3 + rank:
                        os.kill(os.getpid(), signal.Signals[what])

    error = caught(play)
    signal.signal(signal.SIGTERM, before)
    return [
        error,
        run.state.requested,
        run.state.position.batches,
        digest(trained),
        [str(path) for path in run.state.files],
        noted,
    ]


@scene
def nan_on_one_rank(rank: int, size: int) -> Any:
    """The last rank has a loss that is NaN from the third batch of the second epoch on."""
    trained, seen = subject(), 0
    run = Run(trained, [ModelCheckpoint("nan/m-{epoch}"), TerminateOnNaN(save="nan-dump/nan")], verbose=0)
    with run:
        for epoch in run.epochs(3):
            for batch in run.batches(itertools.count() if epoch == 1 else range(4)):
                seen += 1
                loss = step(trained, torch.randn(8, 6))
                run.log(loss=math.nan if rank == size - 1 and (epoch, batch) >= (1, 2) else loss)
    return [run.result.reason, run.step, seen, [str(path) for path in run.state.files]]


@scene
def hanging(rank: int, size: int) -> Any:
    """The last rank hangs in a batch, until rank 0 has its stacks in the journal; the others wait for it."""
    trained, written = subject(), Path("hanging/journal.jsonl")
    with Run(trained, [ModelCheckpoint("hanging/m"), Watchdog("0.3 seconds")], verbose=0) as run:
        for _ in run.epochs(1):
            for batch in run.batches(range(4)):
                run.log(loss=step(trained, torch.randn(8, 6)))
                while batch == 2 and rank == size - 1 and f'"rank":{rank}' not in written.read_text().replace(" ", ""):
                    time.sleep(0.01)
    return [json.loads(line) for line in written.read_text().splitlines() if '"hang"' in line]


@scene
def slow_rank(rank: int, size: int) -> Any:
    """Rank 1 computes alone before each batch, which the others wait for: at the end of the epoch, or in the batch."""
    found = []
    for steps in (False, True):
        trained, lines, times = subject(), [], []
        handler = logging.Handler()
        handler.emit = lambda record, lines=lines: lines.append(record.getMessage())  # type: ignore[method-assign]
        LOG.addHandler(handler)
        with Run(trained, verbose=0) as run:
            for _ in run.epochs(2):
                for _ in run.batches(range(3)):
                    began = time.thread_time()
                    while rank == 1 and time.thread_time() < began + 0.15:
                        pass
                    run.log(loss=step(trained, torch.randn(8, 6)) if steps else 1.0)
                times += [list(run.state.rank_times)] if run.epoch else []
        times.append(list(run.state.rank_times))
        LOG.removeHandler(handler)
        found.append([lines, dict(run.state.stats), times])
    return found


@scene
def resized(rank: int, size: int) -> Any:
    """A training that continues with the current number of ranks, for at least that many epochs."""
    witness = recorder()
    trained = subject()
    with Run(trained, [*callbacks("resized"), witness], verbose=0, resume="auto") as run:
        for epoch in run.epochs({4: 4, 2: 8, 1: 12}[size]):
            for _ in run.batches(range(4)):
                run.log(loss=step(trained, torch.randn(8, 6)), count=8)
            run.log(val_score=SCORES[epoch] + rank - (size - 1) / 2)
    return outcome(run, events=recorded(witness), resumed=run.resumed and str(run.resumed.path))


@scene
def resized_inside(rank: int, size: int) -> Any:
    """A training that four ranks begin and leave inside an epoch, for another number of ranks to continue."""
    trained, seen = subject(), []
    sampler: Any = DistributedSampler(torch.arange(48), size, rank)
    saver = ModelCheckpoint("inside/s-{step}", save_freq="1 step", background=False, keep_last=1)

    def play() -> None:
        with Run(trained, saver, verbose=0, resume="auto") as run:
            for epoch in run.epochs(3):
                sampler.set_epoch(epoch)
                batches = DataLoader(torch.arange(48), batch_size=2, sampler=sampler)
                for batch, rows in enumerate(run.batches(batches)):
                    if (size, epoch, batch) == (4, 1, 4):
                        raise ValueError("all ranks leave")
                    run.log(loss=step(trained, torch.randn(2, 6)), count=len(rows))
                    seen.extend([epoch, row] for row in rows.tolist())

    return caught(play), seen


@scene
def several_models(rank: int, size: int) -> Any:
    """Two models with a file each, and a run that goes on from the file of one."""

    def trained(epochs: int, resume: str | None = None) -> dict[str, Any]:
        torch.manual_seed(2)
        nets: dict[str, nn.Module] = {"netG": nn.Linear(6, 6), "netD": nn.Linear(6, 1)}
        if dist.is_initialized():
            nets = {name: nn.parallel.DistributedDataParallel(net) for name, net in nets.items()}
        optimizers = {name: torch.optim.Adam(net.parameters()) for name, net in nets.items()}
        saver = ModelCheckpoint("models/{part}-{epoch}", keep_last=1, save_last="link")
        with Run(TorchSubject(nets, optimizers, timeout=60), saver, verbose=0, resume=resume) as run:
            for _ in run.epochs(epochs):
                loss = nets["netD"](nets["netG"](torch.ones(4, 6))).square().mean()
                loss.backward()
                for each in optimizers.values():
                    each.step()
                    each.zero_grad()
                run.log(loss=float(loss.detach()))
        return outcome(run, seen=sorted(path.name for path in Path("models").glob("net*")))

    whole = trained(4)
    trained(2)
    resumed = trained(4, "models/netG-last.pt")
    return [resumed, resumed["history"] == whole["history"], resumed["weights"] == whole["weights"]]


class Begins:
    """A plugin that decides when a training begins, resumed or not."""

    @hookimpl
    def on_train_begin(self) -> Decision:
        return decision.scale_learning_rate(0.5) | decision.save("begun/first.pt")


@scene
def begun(rank: int, size: int) -> Any:
    """A training whose first decision is of its beginning: unbroken, and broken after an epoch and resumed."""
    rates = []
    for breaks in (4, 1):
        folder = f"begun/{breaks}"

        def play(breaks: int, folder: str = folder, **options: Any) -> Run:
            witness, trained = recorder(), subject()
            with Run(trained, [Begins(), ModelCheckpoint(f"{folder}/m"), witness], verbose=0, **options) as run:
                for epoch in run.epochs(3):
                    if epoch == breaks:
                        raise ValueError("all ranks leave")
                    run.log(val_loss=step(trained, torch.ones(8, 6)))
            return run

        caught(partial(play, breaks))
        run = play(9, resume=folder)
        rates.append([list(run.history["learning_rate"]), sorted(map(str, run.result.decisions[0][1]))])
    return rates


@scene
def joined(rank: int, size: int) -> Any:
    """Uneven batches inside ``join``, and a callback that decides at batches; equal ones are served."""
    found = []
    for batches in (2 + rank, 2):
        trained = subject()
        joining = cast("nn.parallel.DistributedDataParallel", trained.model)

        def play(trained: TorchSubject = trained, batches: int = batches, joining: Any = joining) -> None:
            with Run(trained, ModelCheckpoint("joined/m-{step}", save_freq=2), verbose=0) as run:
                for _ in run.epochs(1):
                    with joining.join():
                        for _ in run.batches(range(batches)):
                            run.log(loss=step(trained, torch.randn(8, 6)))

        found.append(caught(play))
    return found


def main() -> None:
    """Run one rank."""
    os.chdir(sys.argv[1])
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    reports: dict[str, Any] = {"folder": sys.argv[1]}
    for name in sys.argv[2:] or SCENES:
        begin = time.monotonic()
        try:
            reports[name] = SCENES[name](rank, size)
        except Exception:  # noqa: BLE001
            reports[name] = f"failed: {traceback.format_exc()}"
        print(name, rank, round(time.monotonic() - begin, 2), flush=True)
    report(reports)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
