"""Saves on a disk that fails at each single call: a file is complete, or the old one stays and the error is raised.

``python -m tests.reliability.short_writes`` prints a table of all formats and faults.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from trainbus import Run, hookimpl
from trainbus.checkpoints import Checkpoint, manifest_of, read
from trainbus.plugins import Journal, ModelCheckpoint
from trainbus.storage.directory_lock import LOCK

from .faults import KINDS_OF_FAULTS, SOURCE, Fault, Faults, compiled, run
from .listing import without_history
from .subjects import KINDS, Kind, number_in

__all__ = ["FORMATS", "Tally", "main", "tried"]

SIZE = 20_000
MOST = 1_000
"""Saves after which a run gives up; none comes near."""


class Tally(NamedTuple):
    """The results of the saves of one format."""

    saves: int
    refused: int
    """Saves that were reported as failed; the old file is then complete."""
    wrong: list[str]
    """Errors that were found."""


def _dcp(size: int) -> Kind:
    """A PyTorch module in a directory of shards."""
    kind = KINDS["torch"](size)

    def load(path: Path) -> list[Any]:
        from trainbus.adapters.torch.files.dcp import Shards

        return [tensor.numpy() for tensor in Shards(path).read(lambda _: None)["model"].values()]

    return kind._replace(suffix=".dcp", read=load)


def _h5(size: int) -> Kind:
    """A Keras model in the legacy format, which Keras writes while the training waits."""
    return KINDS["keras"](size)._replace(suffix=".h5")


FORMATS: dict[str, Callable[[int], Kind]] = {**KINDS, "dcp": _dcp, "h5": _h5}
"""Functions by name that make the kind with this many weights."""
FOREGROUND_ONLY = {"line", "h5"}


@cache
def _made(name: str) -> Kind:
    return FORMATS[name](SIZE)


class _Witness:
    def __init__(self) -> None:
        self.committed: list[int] = []

    @hookimpl
    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.committed.append(checkpoint.epoch)


def tried(
    name: str, folder: Path, how: int, *, background: bool, first: int = 1, stride: int = 1, lasting: bool = False
) -> Tally:
    """Save again and again over one path, with a fault at the first call, then at a later one, until none is left."""
    kind, faults, witness = _made(name), Faults(), _Witness()
    fault = Fault(first, how, lasting)
    path = folder / f"best{kind.suffix}"
    saver = ModelCheckpoint(
        str(path),
        save_weights_only=kind.weights_only,
        on_error="warn",
        save_on=(),
        background=None if background else False,
    )
    listed = [saver, Journal(enabled=False), witness]  # whose own writes would be those that fail
    whole, found = {path.name, manifest_of(path).name, LOCK}, dict[int, str]()
    with Run(kind.subject, listed, verbose=0, signals=()) as run:
        for epoch in run.epochs(MOST):
            if epoch:
                run._life.executor.writer.wait()
                calls = faults.disarm()
                found[epoch - 1] = _state(kind, path, whole)
            if epoch > 1:
                if fault.at > calls:
                    break
                fault = fault._replace(at=fault.at + stride)
            kind.carry(epoch)
            run.log(loss=0.0)
            if epoch:
                faults.arm(fault)
    wrong, last = list[str](), 0
    for epoch, state in found.items():
        last = epoch if epoch in witness.committed else last
        if state != f"{last}, {last}":
            reported = "reported as saved" if epoch == last else "reported as failed"
            wrong.append(f"{name}, call {first + (epoch - 1) * stride}: {reported}, {state}, not {last}")
    refused = [epoch for epoch in found if epoch not in witness.committed]
    failures = [each for each in run.failures if each.plugin == "ModelCheckpoint"]
    if len(failures) != len(refused):
        wrong.append(f"{name}: {len(refused)} were not written, {len(failures)} were reported")
    kind.carry(MOST)
    with Run(kind.subject, listed, verbose=0, signals=(), resume="auto"):
        again = folder / f"again{kind.suffix}"
        kind.save(again)
        if number_in(kind, again) != last:
            wrong.append(f"{name}: resumed with {number_in(kind, again)}, not {last}")
    return Tally(len(found), len(refused), wrong)


def _state(kind: Kind, path: Path, whole: set[str]) -> str:
    """The number that all weights have, and the epoch that the manifest has for them; or what is wrong."""
    debris = set(without_history(os.listdir(path.parent))) - whole
    if debris:
        return f"{sorted(debris)} left"
    try:
        return f"{number_in(kind, path)}, {read(path).epoch}"
    except Exception as error:  # noqa: BLE001 - an unreadable file makes a framework raise anything
        return f"{type(error).__name__}: {error}"


def both_ways(name: str, stride: int) -> list[Tally]:
    """Calls that are cut short, that must be tried again, and that are refused, with a thread and without."""
    tallies: list[Tally] = []
    for number, how in enumerate(("short", "EAGAIN", "ENOSPC")):
        background = name not in FOREGROUND_ONLY and number != 1
        with tempfile.TemporaryDirectory() as folder:
            lasting = how == "ENOSPC"
            first = 1 if lasting else 1 + number % stride  # a format may make two calls only
            fault = KINDS_OF_FAULTS[how]
            tally = tried(name, Path(folder), fault, background=background, first=first, stride=stride, lasting=lasting)
            tallies.append(tally)
    return tallies


def table_rows(name: str) -> None:
    """The lines of one format, in a process that has the library."""
    for background in (False, True)[: 1 if name in FOREGROUND_ONLY else 2]:
        cells: list[str] = []
        for how in KINDS_OF_FAULTS.values():
            with tempfile.TemporaryDirectory() as folder:
                tally = tried(name, Path(folder), how, background=background)
            cells.append(f"{tally.saves}, {tally.refused}, {len(tally.wrong)}")
            print(*tally.wrong[:9], sep="\n", end="", file=sys.stderr)
        print(f"| {name} | {'background' if background else 'waiting'} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print, for each format and fault, how many saves there were, how many were refused, and how many were wrong."""
    print(f"| format | training | {' | '.join(KINDS_OF_FAULTS)} |")
    print(f"| --- | --- |{' ---: |' * len(KINDS_OF_FAULTS)}")
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(SOURCE, Path(folder))
        for name in FORMATS:
            print(run(library, "-m", "tests.reliability.short_writes", name), end="", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(json.dumps({name: both_ways(name, int(sys.argv[1])) for name in sys.argv[2:]}))
    elif len(sys.argv) > 1:
        table_rows(sys.argv[1])
    else:
        main()
