"""A disk that takes a part of a write, or none, costs the new checkpoint at most: no wrong file is saved."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from trainbus import CheckpointError
from trainbus.checkpoints import commit, read

from .faults import SOURCE, compiled, run
from .short_writes import Tally
from .subjects import KINDS, number_in
from .test_real_disks import mounted

LINES = """
import json, sys
from pathlib import Path
from trainbus.plugins.tensorboard.writer.event_file import EventFile
from trainbus.plugins.journal.journal_file import open_journal
from tests.reliability.faults import Fault, Faults, KINDS_OF_FAULTS
from tensorboardX.proto.event_pb2 import Event

def records(data):
    while data:
        size = int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12:12 + size])
        data = data[16 + size:]

faults = Faults()
wrong = []
for lasting in (False, True):
    for name, how in KINDS_OF_FAULTS.items():
        for at in range(1, 12) if (name, lasting) != ("EINTR", True) else ():  # which Python tries again, for ever
            folder = Path(f"{name}-{at}-{lasting}")
            written, journal = [], open_journal(folder / "journal.jsonl")
            faults.arm(Fault(at, how, lasting))
            for number in range(9):
                if number == 6:
                    faults.disarm()
                try:
                    journal.append([json.dumps({"time": number, "text": "x" * 99}).encode() + b"\\n"])
                    written.append(number)
                except OSError:
                    pass
            journal.close()
            lines = [json.loads(line)["time"] for line in journal.path.read_bytes().splitlines()]
            if lines != written or not {6, 7, 8} <= {*lines}:
                wrong.append([name, at, "journal", lines, written])

            events = EventFile(folder / "logs", "line")
            faults.arm(Fault(at, how, lasting))
            for number in range(9):
                if number == 6:
                    faults.disarm()
                events.write(float(number), step=number)
                try:
                    events.flush()
                except OSError:
                    pass
            events.close()
            steps = [event.step for event in records(events.path.read_bytes())][1:]
            if steps != list(range(9)):
                wrong.append([name, at, "events", steps])
print(json.dumps(wrong))
"""

FILLS = """
import os, sys
place = sys.argv[1]
while os.path.exists(place):
    try:
        with open(os.path.join(place, "others"), "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        pass
    try:
        os.unlink(os.path.join(place, "others"))
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that counts the write calls, and lets one fail."""
    return compiled(SOURCE, tmp_path_factory.mktemp("library"))


@pytest.mark.parametrize(
    ("stride", "names"),
    [
        pytest.param("7", "line torch safetensors dcp", id="line, torch"),
        pytest.param("7", "sklearn joblib", id="sklearn", marks=pytest.mark.exhaustive),
        *(
            pytest.param(stride, names, id=f"{names}, closer", marks=pytest.mark.exhaustive)
            for stride, names in [
                ("2", "line torch safetensors dcp"),
                ("11", "keras weights.h5 h5"),
                ("2", "sklearn joblib"),
            ]
        ),
    ],
)
def test_a_write_that_is_cut_short_or_refused_costs_the_new_file_only(stride: str, names: str, library: Path) -> None:
    """At any call: what was reported as saved is there to the bit, else the old file is, and a run resumes from it."""
    said = run(library, "-m", "tests.reliability.short_writes", stride, *names.split(), KERAS_BACKEND="torch")
    for name, each in json.loads(said.splitlines()[-1]).items():
        short, again, full = [Tally(*tally) for tally in each]
        assert [*short.wrong, *again.wrong, *full.wrong] == []
        assert short.saves > 1
        assert short.refused == 0, f"{name}: what a short write has left is written by the next one"
        assert full.refused > 0


@pytest.mark.exhaustive
def test_journals_and_event_files_hold_complete_lines_and_records(library: Path) -> None:
    """No accepted line or record is lost or torn, even if a torn one cannot be removed at once."""
    assert json.loads(run(library, "-c", LINES)) == []


@pytest.mark.parametrize("name", ["line", "torch", "sklearn"])
def test_on_a_small_disk_that_others_fill_and_free_no_wrong_file_is_saved(name: str, tmp_path: Path) -> None:
    """Each save raises, or what it has saved is there."""
    kind, refused, last = KINDS[name](20_000), 0, -1
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=700k", "none") as disk:
        path = disk / "runs" / f"best{kind.suffix}"
        others = subprocess.Popen([sys.executable, "-c", FILLS, str(disk)])
        try:
            for number in range(150):
                kind.carry(number)
                with suppress(CheckpointError):
                    commit(path, kind.save, epoch=number, step=number)
                    last = number
                refused += last != number
                if last >= 0:
                    assert number_in(kind, path) == read(path).epoch == last
                    assert len(os.listdir(path.parent)) == 2
        finally:
            others.kill()
            others.wait()
    assert last >= 0 or refused
