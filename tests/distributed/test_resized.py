"""A run that is interrupted inside an epoch may be continued by another number of ranks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from trainbus import Decision, Run, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

from ..core.distributed.threads import LIMIT, ThreadRanks, on_all
from .resized import ROWS as ALL_ROWS
from .resized import SIZES, Trained, interrupted, unbroken

ROWS, EPOCHS = 96, 3
SCORES = [5.0, 5.0, 5.0]
Make = Callable[[int, int], Any]


class Ranks(ThreadRanks):
    """Ranks that may leave one after the other."""

    def close(self) -> None:
        pass


class Line(LineSubject):
    """A line that several ranks train."""

    def __init__(self, ranks: ThreadRanks) -> None:
        super().__init__()
        self.among = ranks

    def ranks(self) -> Any:
        return self.among if self.among.size > 1 else None


class Breaks(Exception):
    """An error that interrupts the training on all ranks."""


def turns(rank: int, size: int, batch: int = 4) -> Any:
    """Return a loader that gives the rank's share of the rows, in an order that an epoch's number determines."""
    return DataLoader(range(ROWS), batch, sampler=DistributedSampler(range(ROWS), size, rank))  # type: ignore[arg-type]


def held(rank: int, size: int) -> Any:
    """The batches of all ranks together have the same size on any number of ranks."""
    return turns(rank, size, 12 // size)


def whole(rank: int, size: int) -> Any:
    """Each rank has all rows, in the order of a generator with the same seed, and takes its own of each batch."""
    rows: Any = range(ROWS)
    return DataLoader(rows, batch_size=12, shuffle=True, generator=torch.Generator().manual_seed(7))


def stateful(rank: int, size: int) -> Any:
    """A loader whose own position counts the batches of the ranks that were there before."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    sampler: Any = DistributedSampler(range(ROWS), size, rank)  # type: ignore[arg-type]
    loader: Any = StatefulDataLoader(range(ROWS), 4, sampler=sampler)  # type: ignore[arg-type]
    loader.turns = sampler
    return loader


def listed(rank: int, size: int) -> Any:
    """Batches in a list, of which the loop takes the rank's rows."""
    return torch.arange(ROWS).split(12)


def endless(rank: int, size: int) -> Iterator[Any]:
    """A generator does not tell how many batches it gives."""
    return (each for each in turns(rank, size))


class Halves:
    """The rank's part of the rows, one part after the other."""

    def __init__(self, rank: int, size: int) -> None:
        self.rows = torch.arange(ROWS).chunk(size)[rank].split(4)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


class Notes:
    """A plugin that notes epochs, decisions and metrics."""

    def __init__(self, found: list[Any]) -> None:
        self.found = found

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Any) -> None:
        self.found.append((epoch, float(metrics["rows"])))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        kinds = {type(each).__name__ for each in decision} - {"Save", "Forget"}
        self.found += [(run.epoch, kind) for kind in sorted(kinds)]


def train(
    make: Make, size: int, breaks: int | None = None, every: int = 1
) -> tuple[Counter[tuple[int, int]], list[Any]]:
    """Train on so many ranks; return how often each row of each epoch was trained on, and what was decided."""
    rows, noted = Counter[tuple[int, int]](), list[Any]()
    together = threading.Barrier(size, timeout=LIMIT)

    def play(ranks: ThreadRanks) -> None:
        loader, rank = make(ranks.rank, size), ranks.rank
        saver = ModelCheckpoint("run/m-{step}", save_freq=every, background=False, keep_last=1)
        watch = EarlyStopping(monitor="val_score", mode="min", patience=2, restore_best_weights=True)
        callbacks = [saver, watch, Notes(noted if rank == 0 else [])]
        run: Any = Run(Line(Ranks(ranks.meeting, rank)), callbacks, resume="auto", verbose=0, signals=())
        with suppress(Breaks), run:
            for epoch in run.epochs(EPOCHS):
                for part in (getattr(loader, "sampler", None), getattr(loader, "turns", None)):
                    if isinstance(part, DistributedSampler):
                        part.set_epoch(epoch)
                given = make(rank, size) if make is endless else loader
                for batch, each in enumerate(run.batches(given)):
                    if (epoch, batch) == (1, breaks):
                        together.wait()
                        raise Breaks
                    own = each[rank::size] if make in (whole, listed) else each
                    run.log(rows=float(len(own)), reduce="sum")
                    rows.update((epoch, row) for row in own.tolist())
                run.log(val_score=SCORES[epoch])
        together.wait()

    on_all(size, play)
    return rows, noted


def resized(make: Make, then: int, now: int, breaks: int) -> tuple[Counter[tuple[int, int]], list[Any]]:
    """Interrupt a training in the second epoch before a batch, and continue it with another number of ranks."""
    rows, noted = train(make, then, breaks, breaks)
    more, later = train(make, now, every=breaks)
    return rows + more, [*noted, *(each for each in later if each not in noted)]


def further(*cases: tuple[Any, ...]) -> list[Any]:
    return [pytest.param(*each, marks=pytest.mark.exhaustive) for each in cases]


USUAL = [(turns, (2, 4)), (turns, (4, 3)), (held, (4, 1)), (whole, (1, 4)), (listed, (4, 2)), (stateful, (2, 4))]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "the loop continues after" in each.getMessage()]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11 calls it
@pytest.mark.parametrize(
    ("make", "then", "now"),
    [
        pytest.param(make, *sizes, marks=[] if (make, sizes) in USUAL else pytest.mark.exhaustive)
        for make in (turns, held, whole, listed, stateful)
        for sizes in SIZES
    ],
)
def test_every_sample_is_trained_on_once_an_epoch(
    make: Make, then: int, now: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With the same decisions and the metrics of all ranks; ranks that did not exist at the save included."""
    if make is stateful:
        pytest.importorskip("torchdata")
    rows, noted = resized(make, then, now, breaks=3 if then == 4 and make in (turns, stateful) else 4)

    assert rows == Counter({(epoch, row): 1 for epoch in range(EPOCHS) for row in range(ROWS)})
    assert noted == [*((0, float(ROWS)), (0, "Keep"), (1, float(ROWS)), (2, float(ROWS)), (2, "Stop"), (2, "Restore"))]
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("then", "now", "breaks", "twice"), [(4, 3, 2, 8), (1, 4, 3, 12), *further((2, 3, 4, 8), (3, 4, 2, 8))]
)
def test_samples_that_are_trained_on_twice_are_counted_in_one_line(
    then: int, now: int, breaks: int, twice: int, caplog: pytest.LogCaptureFixture
) -> None:
    """If the batches of the new ranks do not end where those of the old ranks did; none is left out."""
    rows, _ = resized(turns, then, now, breaks)

    assert set(rows) == {(epoch, row) for epoch in range(EPOCHS) for row in range(ROWS)}
    assert Counter(rows.values()) == {1: EPOCHS * ROWS - twice, 2: twice}
    (line,) = warnings(caplog)
    assert line.endswith(f": {twice} samples will be trained on twice")


@pytest.mark.parametrize(
    ("make", "problem"), [(Halves, "only a DistributedSampler shows"), (endless, "the loader has no size")]
)
@pytest.mark.parametrize(("then", "now"), [(4, 2), (2, 4)])
def test_what_a_loader_does_not_show_is_one_line(
    make: Make, problem: str, then: int, now: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The epoch continues as if the ranks had taken the samples in turn."""
    resized(make, then, now, breaks=then // 2 + 1)

    (line,) = warnings(caplog)
    assert problem in line


@pytest.mark.parametrize(("before", "after"), [(4, 8), (12, 4), *further((8, 4), (4, 12), (6, 2))])
def test_batches_of_another_size_continue_after_the_same_samples(
    before: int, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    """On one rank too; the batches that were trained on do not count as so many of the new size."""
    done = {4: 6, 8: 6, 12: 4, 6: 8}[before]
    first, _ = train(lambda rank, size: turns(rank, size, before), 1, done, done)
    second, _ = train(lambda rank, size: turns(rank, size, after), 1, every=done)

    assert first + second == Counter({(epoch, row): 1 for epoch in range(EPOCHS) for row in range(ROWS)})
    assert warnings(caplog) == []


def train_by_steps(make: Make, size: int, steps: int, breaks: int | None = None) -> tuple[Counter[int], list[int]]:
    """Train so many steps on so many ranks; return how often each row was trained on, and the steps of validations."""
    rows, validated = Counter[int](), list[int]()
    together = threading.Barrier(size, timeout=LIMIT)

    def play(ranks: ThreadRanks) -> None:
        saver = ModelCheckpoint("run/m-{step}", save_freq="1 step", background=False, keep_last=1)
        run: Any = Run(Line(Ranks(ranks.meeting, ranks.rank)), saver, resume="auto", verbose=0, signals=())
        with suppress(Breaks), run:
            for batch in run.steps(make(ranks.rank, size), steps, validate_every=4):
                if run.step == breaks:
                    together.wait()
                    raise Breaks
                own = batch[ranks.rank :: size] if make in (whole, listed) else batch
                rows.update(own.tolist())
                run.log(loss=1.0)
                if run.validation_due:
                    with run.validation():
                        run.log(loss=1.0)
        together.wait()
        if ranks.rank == 0:
            validated[:] = run.history.get("step", [])

    on_all(size, play)
    return rows, validated


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11 calls it
@pytest.mark.parametrize(
    ("make", "then", "now", "broken"),
    [
        *[(turns, 4, 2, 10), (turns, 1, 3, 9), (stateful, 4, 2, 9)],
        *further((turns, 4, 2, 3), (turns, 2, 4, 14), (turns, 2, 2, 5)),
        *further((whole, 1, 4, 3), (whole, 4, 2, 11), (stateful, 2, 2, 17)),
    ],
)
def test_a_loop_by_steps_trains_on_every_sample_once_a_pass(
    make: Make, then: int, now: int, broken: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in a later pass than the first; new ranks begin in the pass of the others. Validations count steps."""
    batches, later = (8, 8) if make is whole else (24 // then, 24 // now)
    done, rest = broken % batches, 0
    rest = (batches - done) * later // batches + later
    first, _ = train_by_steps(make, then, broken + rest, broken)
    second, validated = train_by_steps(make, now, broken + rest)

    assert first + second == Counter(dict.fromkeys(range(ROWS), broken // batches + 2))
    assert validated == sorted({*range(4, broken + rest + 1, 4), broken + rest})
    assert warnings(caplog) == []


def test_a_chain_of_changes_trains_on_every_sample_once() -> None:
    """Four ranks, then two in the same epoch, then three, then one."""
    rows = Counter[tuple[int, int]]()
    for size, breaks in ((4, 2), (2, 2), (3, 1), (1, None)):
        more, _ = train(turns, size, breaks)
        rows += more

    assert rows == Counter({(epoch, row): 1 for epoch in range(EPOCHS) for row in range(ROWS)})


@pytest.fixture(scope="module")
def whole_training(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool, str], Trained]:
    """Return what a training does that nothing interrupts; each is played once."""
    return cache(lambda sharded, loader: unbroken(tmp_path_factory.mktemp("whole"), sharded=sharded, loader=loader))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("then", "now", "what", "sharded", "loader"),
    [
        (4, 2, "SIGKILL", True, "listed"),
        (4, 2, "SIGTERM", False, "held"),
        (2, 4, "SIGKILL", False, "stateful"),
        (2, 4, "SIGTERM", True, "turns"),
        (1, 4, "SIGKILL", False, "whole"),
        (1, 4, "SIGTERM", True, "turns"),
        (4, 3, "SIGKILL", True, "turns"),
        (4, 3, "SIGTERM", False, "turns"),
        (4, 1, "SIGKILL", False, "turns"),
        (4, 1, "SIGTERM", True, "turns"),
    ],
)
def test_real_processes_continue_after_a_signal(
    then: int,
    now: int,
    what: str,
    sharded: bool,
    loader: str,
    whole_training: Callable[[bool, str], Trained],
    tmp_path: Path,
) -> None:
    """DDP and FSDP2, from a step checkpoint or from that of a SIGTERM: the decisions are those of the unbroken run.

    Every pair of a change of size, a signal and a kind of model is here, and every loader once; each loader with each
    change is above, in threads. ``python -m tests.distributed.resized`` plays all of them together.
    """
    if loader == "stateful":
        pytest.importorskip("torchdata")
    expected = whole_training(sharded, loader)
    found = interrupted(tmp_path, then, now, what, 4, sharded=sharded, loader=loader)

    assert found.resumed.startswith("signal" if what == "SIGTERM" else "s-")
    assert found.decisions == expected.decisions
    twice = [row for rows in found.rows.values() for row, count in rows.items() if count == 2]
    assert all(set(rows) == set(range(ALL_ROWS)) for epoch, rows in found.rows.items() if epoch in found.metrics)
    assert bool(twice) == ("samples will be trained on twice" in found.said)
