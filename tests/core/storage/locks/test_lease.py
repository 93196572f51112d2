"""One run at a time saves in a directory, also in a store without locks."""

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.core.storage.stores import STORES, new_directory
from tests.servers import SERVED
from trainbus import CheckpointError, Run
from trainbus.checkpoints import read
from trainbus.errors import DirectoryLocked
from trainbus.plugins import ModelCheckpoint
from trainbus.storage.backend import backend_for
from trainbus.storage.directory_lock import LOCK, lock_directories
from trainbus.storage.locks import lease as leases
from trainbus.storage.locks.lease import Lease, LeaseRecord, acquire
from trainbus.storage.paths import RemotePath
from trainbus.storage.remote import RemoteBackend
from trainbus.testing import LineSubject

HOLD = """
import sys
from trainbus.storage.directory_lock import lock_directories
from trainbus.storage.paths import location
owned = lock_directories([location(sys.argv[1])])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=STORES)
def directory(request: pytest.FixtureRequest, log_in: Callable[[str], str]) -> RemotePath:
    """A new directory in each store in turn."""
    if request.param in SERVED:
        log_in(request.param)
    return new_directory(request.param)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed, and expire, within milliseconds."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)


def lease_object_in(directory: RemotePath) -> RemoteBackend:
    return RemoteBackend(directory / LOCK)


def stranger(directory: RemotePath, token: str) -> LeaseRecord:
    """The lease of a process on a machine of which nothing can be known from here."""
    entry = LeaseRecord(7, "elsewhere", "another machine", token, 0)
    lease_object_in(directory).create(str(entry))
    return entry


def test_a_second_run_is_refused_before_it_trains(directory: RemotePath) -> None:
    """The error says that it is of this process, and names the directory; the first run releases it at its end."""
    with Run(LineSubject(), ModelCheckpoint(f"{directory}/best")) as first:
        second = Run(LineSubject(), ModelCheckpoint(f"{directory}/other"))
        with pytest.raises(CheckpointError, match=rf"a run of this process that has not ended .*{directory}"):
            second.begin()
        for _ in first.epochs(1):
            first.log(loss=1)

    assert read(directory / "best.npz").epoch == 0
    lock_directories([directory]).close()
    assert LOCK not in backend_for(directory).list_names()


def test_what_a_dead_process_of_this_machine_owned_is_free_at_once(bucket: str) -> None:
    """A living process keeps the directory by renewing its lease; a killed one is known to be dead."""
    directory = new_directory(bucket.partition(":")[0])
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(directory)], stdin=-1, stdout=-1)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        entry = LeaseRecord.parse(lease_object_in(directory).read().decode())
        assert (entry.process, entry.is_dead) == (holder.pid, False)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert entry.is_dead

    lock_directories([directory]).close()


@pytest.mark.parametrize("number", [0, -1, -(2**31), 2**31, 2**63, 10**30, "9" * 3000, "9" * 5000])
def test_a_record_whose_number_no_process_has_is_of_an_unknown_owner(number: object) -> None:
    """Nobody asks the system for such a process."""
    honest = LeaseRecord.parse(str(LeaseRecord(7, "here", leases._machine(), "token", 3)))
    assert honest.process == 7
    found = LeaseRecord.parse(str(honest._replace(process=number)))  # type: ignore[arg-type]
    assert found.owner == "process 0 on an unknown host"
    assert not found.is_dead


def test_an_owner_who_renews_never_counts_as_dead(directory: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits for a renewal from another machine is refused at the first one."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 1.0)
    stranger(directory, "alive")
    renewed = threading.Event()

    def live() -> None:
        for renewals in range(1, 1000):
            lease_object_in(directory).replace(str(LeaseRecord(7, "elsewhere", "another machine", "alive", renewals)))
            if renewed.wait(0.01):
                return

    living = threading.Thread(target=live)
    living.start()
    with pytest.raises(CheckpointError, match="process 7 on elsewhere"):
        lock_directories([directory])
    renewed.set()
    living.join()


@pytest.mark.exhaustive
def test_of_many_who_find_a_silent_owner_one_takes_over(directory: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of processes may wait for one silent owner; one of them gets the lock and all others are refused."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.5)
    stranger(directory, "dead")
    owned: list[Lease] = []
    refused: list[DirectoryLocked] = []
    together = threading.Barrier(5)

    def contend() -> None:
        together.wait()
        try:
            owned.append(acquire(lease_object_in(directory), str(directory)))
        except DirectoryLocked as error:
            refused.append(error)

    threads = [threading.Thread(target=contend) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(owned) == 1
    assert len(refused) == 4
    assert backend_for(directory).list_names() == [LOCK]
    owned[0].release()


@pytest.mark.usefixtures("hurried")
def test_who_died_while_taking_over_is_taken_over_from(directory: RemotePath) -> None:
    """The object by which one of many takes over is not a second lock that could stay for ever."""
    entry = stranger(directory, "dead")
    name = f".trainbus-claim-{leases.hashlib.sha256(str(entry).encode()).hexdigest()[:16]}"
    RemoteBackend(directory / name).create(str(entry._replace(token="died, too")))

    lock_directories([directory]).close()
    assert not backend_for(directory).is_directory() or backend_for(directory).list_names() == []


@pytest.mark.usefixtures("hurried")
def test_a_run_that_lost_its_lock_saves_nothing_more(directory: RemotePath, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose lock was taken over raises an error, and changes no files of the new owner."""
    run = Run(LineSubject(), ModelCheckpoint(f"{directory}/best"))
    run.begin()
    new = LeaseRecord(7, "elsewhere", "another machine", "new", 0)
    while "no longer saves there" not in caplog.text:  # a renewal may fall between the other's reading and writing
        with suppress(OSError):  # refused, once it is known
            lease_object_in(directory).replace(str(new))

    run.begin_epoch(0)
    with pytest.raises(CheckpointError, match=r"was taken over by another run \(process 7 on elsewhere\)"):
        run.end_epoch({"loss": 1.0})
    run.end()

    assert backend_for(directory / "best.npz").size() is None
    assert LeaseRecord.parse(lease_object_in(directory).read().decode()).token == "new"


def test_a_store_that_guards_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a store creates objects that exist already, as old libraries and some stores do, the owner is warned."""
    directory, real = new_directory("memory"), MemoryFileSystem.pipe_file
    lock_directories([directory]).close()
    assert not caplog.text

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda files, path, value, **_: real(files, path, value))
    lock_directories([directory]).close()
    assert f"{directory}: this store, or an old version of its library, overwrites an existing object" in caplog.text


def test_what_is_no_lease_is_somebody_of_whom_nothing_is_known(directory: RemotePath, hurried: None) -> None:
    """An empty or foreign object at the lease's name never blocks a run for ever."""
    lease_object_in(directory).create("")
    lock_directories([directory]).close()
    lease_object_in(directory).create("whatever\nthis\nis")
    lock_directories([directory]).close()


@pytest.mark.exhaustive
def test_a_run_that_is_lost_gives_its_directory_back(directory: RemotePath) -> None:
    """A run that is garbage-collected without an end does not keep a later run of its process from saving there."""
    run = Run(LineSubject(), ModelCheckpoint(f"{directory}/best"))
    run.begin()
    del run
    gc.collect()

    lock_directories([directory]).close()
