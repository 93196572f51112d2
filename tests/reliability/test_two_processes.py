"""Two processes at one directory: one owner, and readers who see complete checkpoints only."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainbus import CheckpointError
from trainbus.checkpoints import commit, newest_intact, read
from trainbus.storage.directory_lock import lock_directories

from .subjects import KINDS, number_in

OWN = """
from pathlib import Path
from trainbus.storage.directory_lock import lock_directories
owned = lock_directories([Path("runs")])
print("owned", flush=True)
input()
"""
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_a_second_run_in_a_directory_is_refused_while_the_first_lives() -> None:
    """Another process is refused, with the owner's name, until the owner is dead, even by SIGKILL."""
    holder = subprocess.Popen([sys.executable, "-c", OWN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "owned\n"
        with pytest.raises(
            CheckpointError, match=rf"another run \(process {holder.pid} on .*'runs'.* its own directory"
        ):
            lock_directories([Path("runs")])
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lock_directories([Path("runs")]):
        pass


def test_a_reader_next_to_a_writer_sees_complete_checkpoints_only() -> None:
    """While a process saves 150 times, each reading is of one save, with its plugin state, and never goes back."""
    kind = KINDS["line"](20_000)
    path = Path("best.npz")

    def put(number: int) -> None:
        kind.carry(number)
        commit(path, kind.save, epoch=number, step=number)

    put(0)
    writer = os.fork()
    if writer == 0:
        code = 1
        try:
            for number in range(1, 151):
                put(number)
            code = 0
        finally:
            os._exit(code)
    seen, status = [0], None
    while status is None:
        gone, code = os.waitpid(writer, os.WNOHANG)
        status = code if gone else None
        before, number, after = read(path).epoch, number_in(kind, path), newest_intact(Path())
        assert number is not None, "torn"
        assert after[0] is not None
        assert after[1] == []
        assert seen[-1] <= before <= number <= after[0].epoch
        seen.append(after[0].epoch)

    assert status == 0
    assert seen[-1] == 150
    assert len(set(seen)) > 10, "the reader looked while the writer wrote"
