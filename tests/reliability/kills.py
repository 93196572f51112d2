"""SIGKILL at random moments of saves that follow each other without a pause, and what is found at the path afterwards.

`python -m tests.reliability.kills 250` kills so many savers of each kind as trainbus writes, a quarter of that as the
framework writes in place, and prints a table. All weights of a save carry one number, so that a mixture is seen.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trainbus import CheckpointError, Run, hookimpl, journal
from trainbus.checkpoints import Checkpoint, manifest_of, read
from trainbus.files import STAGED, sweep
from trainbus.plugins import ModelCheckpoint

from .subjects import KINDS, Kind, number_in

ROOT = Path(__file__).parents[2]
WEIGHTS = {"line": 1_000, "torch": 1_000_000, "keras": 1_000_000, "sklearn": 200_000}
IN_BACKGROUND = ("torch", "sklearn")
"""The kinds that can be saved while the training goes on."""
BETWEEN = 1_000
"""Numbers from one saver's first to the next one's; no saver lives for so many saves."""

UNUSABLE = ("missing", "unreadable", "torn", "lost", "no memory", "other memory")


class Progress:
    """Which number was saved last, and which is being saved, told by a process that may die at any moment."""

    def __init__(self) -> None:
        self.shared = mmap.mmap(-1, 16)
        self.done, self.going = os.pipe()

    def begin(self, number: int) -> None:
        self.shared[8:16] = struct.pack("q", number)

    def end(self, number: int, going: int = 0) -> None:
        self.shared[0:16] = struct.pack("qq", number, going)
        os.write(self.going, b".")

    def read(self) -> tuple[int, int]:
        return struct.unpack("qq", self.shared[0:16])

    def close(self) -> None:
        os.close(self.done)
        os.close(self.going)


def save_with_trainbus(kind: Kind, path: Path, first: int, progress: Progress, *, background: bool = False) -> None:
    """A run whose every epoch ends with a save."""

    class Tell:
        @hookimpl
        def on_epoch_end(self, run: Run) -> None:
            progress.begin(run.epoch)

        @hookimpl
        def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
            progress.end(checkpoint.epoch, run.epoch if run.epoch > checkpoint.epoch else 0)

    saver = ModelCheckpoint(str(path), background=background)
    with Run(kind.subject, [Tell(), saver], progress=False) as run:
        for epoch in run.epochs(first + BETWEEN, initial_epoch=first):
            kind.carry(epoch)
            run.log(loss=0.0)


def save_in_place(kind: Kind, path: Path, first: int, progress: Progress) -> None:
    """What people write by hand."""
    for number in range(first, first + BETWEEN):
        kind.carry(number)
        progress.begin(number)
        kind.write(path)
        progress.end(number)


WRITERS: dict[str, Callable[[Kind, Path, int, Progress], None]] = {
    "trainbus": save_with_trainbus,
    "background": partial(save_with_trainbus, background=True),
    "in place": save_in_place,
}


def killed(work: Callable[[Progress], None]) -> tuple[int, int]:
    """Fork a saver, let it save twice, kill it within the time of two more; what it had saved, what it was saving."""
    progress = Progress()
    child = os.fork()
    if child == 0:
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            work(progress)
        finally:
            os._exit(1)
    os.read(progress.done, 1)
    began = time.perf_counter()
    os.read(progress.done, 1)
    time.sleep(random.uniform(0, 2 * (time.perf_counter() - began)))
    os.kill(child, signal.SIGKILL)
    died_of = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert died_of == -signal.SIGKILL, "the saver failed by itself"
    found = progress.read()
    progress.close()
    return found


def verdict(kind: Kind, path: Path, saved: int, going: int, *, has_memory: bool) -> str:
    """What is at the path, in one word."""
    if not path.exists():
        return "missing"
    try:
        number = number_in(kind, path)
    except Exception:  # noqa: BLE001 - each framework has its own ways to fail
        return "unreadable"
    if number is None:
        return "torn"
    if number != saved and not saved <= number <= going:
        return "lost"
    if has_memory:
        try:
            content = read(path).content
        except CheckpointError:
            return "no memory"
        if content.epoch != number:
            return "other memory"
    return "whole"


def trials(name: str, writer: str, kills: int) -> dict[str, int]:
    """Kill so many savers of one kind over one path; how often each verdict fell, and what was left behind."""
    kind, counted = KINDS[name](WEIGHTS[name]), Counter[str]()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # forked processes have no pool of threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"best{kind.suffix}"
        for trial in range(1, kills + 1):
            saved, going = killed(partial(WRITERS[writer], kind, path, trial * BETWEEN))
            found = verdict(kind, path, saved, going, has_memory=writer != "in place")
            counted[found] += 1
            counted["inside"] += going != 0
            counted["unusable inside"] += going != 0 and found != "whole"
            counted["debris"] += any(each.name.startswith(STAGED) for each in Path(folder).iterdir())
            sweep(Path(folder))
            known = {path.name, manifest_of(path).name, ".trainbus.lock", journal.NAME}
            counted["left after the sweep"] += not {each.name for each in Path(folder).iterdir()} <= known
    return {**counted, "kills": kills}


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or with --json what one kind and writer came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--writer", choices=WRITERS, default="trainbus")
    options = parser.parse_args(arguments)
    if options.kind:
        print(json.dumps(trials(options.kind, options.writer, options.kills)))
        return
    print("| format | writer | kills | inside a save | unusable | P(unusable \\| killed inside) | debris, all swept |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for kind in KINDS:
        writers = [("trainbus", 1), ("background", 1), ("in place", 4)]
        for writer, share in [each for each in writers if each[0] != "background" or kind in IN_BACKGROUND]:
            print(row(kind, writer, in_process(kind, writer, options.kills // share)), flush=True)


def in_process(kind: str, writer: str, kills: int) -> dict[str, Any]:
    """The same in a process of its own, which imports the one framework and forks the savers."""
    command = [sys.executable, "-m", "tests.reliability.kills", str(kills), "--kind", kind, "--writer", writer]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def row(kind: str, writer: str, counted: dict[str, Any]) -> str:
    """One line of the table."""
    kills, inside, bad = counted["kills"], counted["inside"], counted["unusable inside"]
    words = [f"{counted[word]} {word}" for word in UNUSABLE if counted.get(word)]
    debris = f"{counted['debris']}, {'no' if counted['left after the sweep'] else 'yes'}"
    return f"| {kind} | {writer} | {kills} | {inside} | {', '.join(words) or 0} | {bad / inside:.2f} | {debris} |"


if __name__ == "__main__":
    main()
