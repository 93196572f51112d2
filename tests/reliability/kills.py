"""SIGKILL at random times during saves without a pause, and the files at the path afterwards.

``python -m tests.reliability.kills 250`` kills 250 savers of each format by trainbus, a quarter of that as the
framework writes in place and as other libraries do, where they are installed (the extra ``bench``), and prints a table.
All weights of a save carry one number, so that a mixture is seen.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trainbus import CheckpointError, Run, journal
from trainbus.checkpoints import manifest_of, read
from trainbus.plugins import ModelCheckpoint
from trainbus.resume import end_record
from trainbus.storage.atomic_file import STAGED, remove_debris

from .listing import without_history
from .peers import PEERS
from .save_progress import SaveProgress, SaveReporter
from .subjects import KINDS, Kind, number_in

ROOT = Path(__file__).parents[2]
WEIGHTS = {"line": 1_000, "sklearn": 200_000, "joblib": 200_000}
MANY = 1_000_000
"""Weights of the other kinds."""
IN_BACKGROUND = tuple(name for name in KINDS if name != "line")
"""The kinds that can be saved while the training continues."""
BETWEEN = 1_000
"""Distance between the first numbers of two savers; no saver lives for that many saves."""

UNUSABLE = ("missing", "unreadable", "torn", "lost", "no state", "other state")


def save_with_trainbus(kind: Kind, path: Path, first: int, progress: SaveProgress, *, background: bool = False) -> None:
    """A run whose every epoch ends with a save."""
    saver = ModelCheckpoint(str(path), save_weights_only=kind.weights_only, background=background)
    with Run(kind.subject, [SaveReporter(progress), saver], verbose=0) as run:
        for epoch in run.epochs(first + BETWEEN, initial_epoch=first):
            kind.carry(epoch)
            run.log(loss=0.0)


def save_in_place(kind: Kind, path: Path, first: int, progress: SaveProgress) -> None:
    """Save as people do by hand."""
    for number in range(first, first + BETWEEN):
        kind.carry(number)
        progress.begin(number)
        kind.write(path)
        progress.end(number)


WRITERS: dict[str, Callable[[Kind, Path, int, SaveProgress], None]] = {
    "trainbus": save_with_trainbus,
    "background": partial(save_with_trainbus, background=True),
    "in place": save_in_place,
}


def save_as_peer(name: str, kind: Kind, path: Path, first: int, progress: SaveProgress) -> None:
    """Save as users of another library do."""
    PEERS[name].save(kind, path, range(first, first + BETWEEN), progress)


def killed(work: Callable[[SaveProgress], None]) -> tuple[int, int]:
    """Fork a saver, let it save twice, kill it within the time of two more; return what was saved and being saved."""
    progress = SaveProgress()
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
    assert died_of == -signal.SIGKILL, "the saver failed before it was killed"
    found = progress.read()
    progress.close()
    return found


def verdict(kind: Kind, path: Path, saved: int, going: int, *, has_state: bool) -> str:
    """Return the state of the path in one word."""
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
    if has_state:
        try:
            content = read(path).entry
        except CheckpointError:
            return "no state"
        if content.epoch != number:
            return "other state"
    return "complete"


def trials(name: str, writer: str, kills: int) -> dict[str, int]:
    """Kill so many savers of one kind over one path; return how often each verdict was given, and files left behind."""
    kind, counted = KINDS[name](WEIGHTS.get(name, MANY)), Counter[str]()
    own = writer in ("trainbus", "background")
    file = PEERS[writer].name if writer in PEERS else f"best{kind.suffix}"
    write = partial(save_as_peer, writer) if writer in PEERS else WRITERS[writer]
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # forked processes have no pool of threads
    if writer in PEERS:  # what it imports is there in every process forked from this one
        with tempfile.TemporaryDirectory() as folder:
            PEERS[writer].save(kind, Path(folder) / file.replace("*", "1"), range(1), SaveProgress())
    with tempfile.TemporaryDirectory() as folder:
        for trial in range(1, kills + 1):
            saved, going = killed(partial(write, kind, Path(folder) / file, trial * BETWEEN))
            path = max(Path(folder).glob(file), key=lambda each: each.stat().st_mtime_ns, default=Path(folder) / file)
            found = verdict(kind, path, saved, going, has_state=own)
            counted[found] += 1
            counted["inside"] += going != 0
            counted["unusable inside"] += going != 0 and found != "complete"
            counted["debris"] += any(each.name.startswith(STAGED) for each in Path(folder).iterdir())
            remove_debris(Path(folder))
            known = {path.name, manifest_of(path).name, ".trainbus.lock", journal.NAME, end_record.NAME}
            counted["left after the sweep"] += not {*without_history(os.listdir(folder))} <= known
            if not own:
                clear(Path(folder))
    return {**counted, "kills": kills}


def clear(folder: Path) -> None:
    """Remove all files, so that the next saver starts with none."""
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or the result of one kind and writer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--writer", choices=[*WRITERS, *PEERS], default="trainbus")
    options = parser.parse_args(arguments)
    if options.kind:
        print(json.dumps(trials(options.kind, options.writer, options.kills)))
        return
    print("| format | writer | kills | inside a save | unusable | P(unusable \\| killed inside) | debris, all swept |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for kind in KINDS:
        own = ["trainbus", *(["background"] if kind in IN_BACKGROUND else [])]
        for writer, kills in [*((each, options.kills) for each in own), ("in place", options.kills // 4)]:
            print(row(kind, writer, in_process(kind, writer, kills)), flush=True)
    for name, peer in PEERS.items():
        try:
            print(row(peer.kind, name, in_process(peer.kind, name, options.kills // 4)), flush=True)
        except ImportError as error:
            print(f"left out: {name}: {error}", file=sys.stderr)


def in_process(kind: str, writer: str, kills: int) -> dict[str, Any]:
    """Do the same in a child process, which imports the one framework and forks the savers."""
    command = [sys.executable, "-m", "tests.reliability.kills", str(kills), "--kind", kind, "--writer", writer]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        raise ImportError(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def row(kind: str, writer: str, counted: dict[str, Any]) -> str:
    """Return one line of the table."""
    kills, inside, bad = counted["kills"], counted["inside"], counted["unusable inside"]
    words = [f"{counted[word]} {word}" for word in UNUSABLE if counted.get(word)]
    debris = f"{counted['debris']}, {'no' if counted['left after the sweep'] else 'yes'}"
    if writer not in ("trainbus", "background"):
        debris = ""
    return f"| {kind} | {writer} | {kills} | {inside} | {', '.join(words) or 0} | {bad / inside:.2f} | {debris} |"


if __name__ == "__main__":
    main()
