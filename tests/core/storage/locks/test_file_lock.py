"""A lock is free when its owner is dead, also on file systems without locks, and says whose it is otherwise."""

import errno
import fcntl
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from trainbus.errors import CheckpointError, DirectoryLocked
from trainbus.storage.directory_lock import LOCK, lock_directories
from trainbus.storage.locks.file_lock import FileLock, check_locks
from trainbus.storage.locks.owner import Owner
from trainbus.storage.reach import Reach

NO_LOCKS = ("ENOSYS", "ENOTSUP", "ENOLCK", "EOPNOTSUPP", "EINVAL")
EACH = pytest.mark.parametrize("error", ["", *NO_LOCKS])
FEW = pytest.mark.parametrize(
    "error", ["", NO_LOCKS[0], *(pytest.param(each, marks=pytest.mark.exhaustive) for each in NO_LOCKS[1:])]
)
FORK = multiprocessing.get_context("fork")


class Child:
    """A process of its own that locks the directory; ``flock`` fails in it with the error."""

    def __init__(self, error: str, directory: str = "run", reached: Sequence[Reach] = ()) -> None:
        self.ours, self.theirs = FORK.Pipe()
        self.process = FORK.Process(target=self.hold, args=[error, directory, reached])
        self.process.start()
        self.theirs.close()

    def hold(self, error: str, directory: str, reached: Sequence[Reach]) -> None:
        if error:

            def refuse(*_: object) -> None:
                raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

            fcntl.flock = refuse
        self.ours.close()
        try:
            lock = lock_directories([Path(directory)], reached=reached)
        except CheckpointError as raised:
            self.theirs.send(str(raised))
            return
        self.theirs.send("held")
        with suppress(EOFError):
            self.theirs.recv()
            lock.close()

    def end(self, how: signal.Signals | None = None) -> None:
        """Let it release the lock and end, or kill it."""
        if how is not None:
            assert self.process.pid is not None
            os.kill(self.process.pid, how)
        else:
            with suppress(OSError):
                self.ours.send("end")
        self.process.join()


@contextmanager
def held(error: str, directory: str = "run", reached: Sequence[Reach] = ()) -> Iterator[Child]:
    """A process that holds the lock."""
    child = Child(error, directory, reached)
    try:
        assert child.ours.recv() == "held"
        yield child
    finally:
        child.end()


def second(error: str, directory: str = "run", reached: Sequence[Reach] = ()) -> str:
    """What a second process gets as an error; "held" if it gets the lock."""
    child = Child(error, directory, reached)
    found = str(child.ours.recv())
    child.end()
    return found


@FEW
def test_a_living_owner_is_named_and_a_dead_one_holds_nothing(error: str) -> None:
    """Killed, stopped for ever and killed, or ended: the directory is free at once."""
    for end in (signal.SIGKILL, signal.SIGTERM, None):
        with held(error) as owner:
            assert f"another run (process {owner.process.pid} on " in second(error)
            owner.end(end)
        assert second(error) == "held"


def test_a_refusal_without_locks_names_the_file_to_remove() -> None:
    """With locks there is nothing to remove, and nothing is said."""
    for error, said in (("", False), ("ENOSYS", True)):
        with held(error):
            assert (f"if that process has ended, remove {str(Path('run', LOCK).absolute())!r}" in second(error)) == said


def forge(**changes: object) -> Owner:
    """Leave the record of an owner."""
    Path("run").mkdir(exist_ok=True)
    owner = Owner.this()._replace(**changes)  # type: ignore[arg-type]
    Path("run", LOCK).write_text(str(owner))
    return owner


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({"name": "process 7 on there", "machine": "there"}, False),
        ({"name": "process 7 on there", "machine": "there", "boot": "earlier"}, False),
        ({"boot": "earlier"}, True),
        ({"number": 2**22 - 1}, True),
        ({"start": "1"}, True),
        ({"token": "of another run of that process"}, False),
        ({"number": os.getppid(), "start": "1"}, True),
        ({"boot": ""}, False),
        ({"space": "pid:[1]"}, False),
        ({"space": "pid:[1]", "boot": "earlier"}, True),
        ({"name": ""}, True),
        ({"number": 0}, False),
        ({"number": -1}, False),
        ({"number": -(2**31)}, False),
        ({"number": 2**31 - 1}, True),
        ({"number": 2**31}, False),
        ({"number": 2**63}, False),
        ({"number": 10**30}, False),
        ({"number": "9" * 3000}, False),
    ],
    ids=str,
)
def test_only_a_dead_owner_of_this_machine_is_taken_over(changes: dict[str, object], free: bool) -> None:
    """A machine that was started again, or a number that another process has now: the owner is dead."""
    forge(**changes)

    found = second("ENOSYS")

    assert (found == "held") == free
    assert free or ("if that process has ended, remove" in found and str(Path("run", LOCK)) in found)


@pytest.mark.parametrize(
    "text", ["", "\n", "process 7 on there", "a\nb\nc\nd\ne\nf", "x" * 100_000, "\0" * 9, "1\n2\n3"]
)
def test_a_damaged_record_never_raises(text: str) -> None:
    """What says nothing of an owner is free; what names one that cannot be checked is refused with a way out."""
    Path("run").mkdir()
    Path("run", LOCK).write_text(text)

    assert second("") == "held"
    Path("run", LOCK).write_text(text)
    found = second("ENOSYS")
    assert found == "held" or "remove" in found


def test_a_claim_of_a_dead_process_is_removed() -> None:
    """A process that died while it looked at the record blocks no other."""
    with held("ENOSYS") as owner:
        record = Path("run", LOCK).read_text()
        owner.end(signal.SIGKILL)
    Path("run", f"{LOCK}.claim").write_text(record)

    assert second("ENOSYS") == "held"
    assert not Path("run", f"{LOCK}.claim").exists()


def test_one_of_several_that_begin_at_once_gets_the_lock() -> None:
    """Also if they find the record of a dead owner."""
    forge(start="1")
    children = [Child("ENOSYS") for _ in range(6)]
    found = [child.ours.recv() for child in children]
    for child in children:
        child.end()

    assert found.count("held") == 1
    assert all("another run" in each for each in found if each != "held")


def test_a_record_says_which_process_it_is() -> None:
    """Name, number, machine, boot, start and a token of its own."""
    lock = FileLock(Path("run", LOCK))
    found = Owner.parse(Path("run", LOCK).read_text())

    assert found == lock.owner
    assert not found.is_dead
    assert all(found)
    lock.release()
    assert Path("run", LOCK).read_text() == ""
    assert found.is_dead


def test_a_run_that_is_garbage_holds_no_lock() -> None:
    """Its file is closed."""
    lock = FileLock(Path("run", LOCK))
    with pytest.raises(DirectoryLocked):
        FileLock(Path("run", LOCK))
    del lock

    FileLock(Path("run", LOCK)).release()


def test_a_forked_process_does_not_hold_the_lock_of_its_parent() -> None:
    """Neither does it release it."""
    lock = FileLock(Path("run", LOCK))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        lock.release()
        os.write(write, b"x")
        os._exit(0)
    assert os.read(read, 1) == b"x"
    with pytest.raises(CheckpointError):
        lock_directories([Path("run")])
    os.waitpid(child, 0)
    lock.release()

    lock_directories([Path("run")]).close()


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: Path(path).symlink_to("victim"), lambda path: Path(path).symlink_to(path)],
    ids=["FIFO", "directory", "link", "link to itself"],
)
def test_a_lock_file_that_is_none_is_an_error_of_one_line(make: object) -> None:
    """Nothing is written through it, and nothing waits for it."""
    Path("run").mkdir()
    Path("victim").write_text("precious")
    make(str(Path("run", LOCK).absolute()))  # type: ignore[operator]

    with pytest.raises(CheckpointError) as raised:
        lock_directories([Path("run")])

    assert "\n" not in str(raised.value)
    assert LOCK in str(raised.value)
    assert Path("victim").read_text() == "precious"


def test_locks_of_other_directories_are_locked_again_too() -> None:
    """Whatever is written next, every lock that was removed is noticed, and reported once."""
    reports: list[str] = []
    locks = [FileLock(Path(name, LOCK), lambda name=name: reports.append(name)) for name in ("a", "b")]
    Path("b", LOCK).unlink()

    for _ in range(2):
        check_locks(Path("a/m.npz"))

    assert reports == ["b"]
    with pytest.raises(DirectoryLocked):
        FileLock(Path("b", LOCK))
    for each in locks:
        each.release()


@FEW
@pytest.mark.parametrize("around", [True, False])
def test_a_directory_that_another_run_reaches_is_refused_without_locks_too(error: str, around: bool) -> None:
    """Until its owner is dead, or has ended."""
    Path("run").mkdir()
    reaching = ("run", [Reach(Path("run").resolve(), ("[0-9]*",))])
    first, other = (reaching, ("run/3", ())) if around else (("run/3", ()), reaching)
    for end in (signal.SIGKILL, None):
        with held(error, *first) as owner:
            assert f"another run (process {owner.process.pid} on" in second(error, *other)
            owner.end(end)
        assert second(error, *other) == "held"


@pytest.mark.parametrize("count", [1, 9, 500])
def test_a_record_of_any_number_of_patterns_fits(count: int) -> None:
    """Too many are recorded by their depth alone: what they name is refused, and what is deeper is not."""
    Path("run").mkdir()
    reached = [Reach(Path("run").resolve(), (f"{number}*", "x" * 40)) for number in range(count)]
    with held("", "run", reached):
        assert "another run" in second("", f"run/{count - 1}a/{'x' * 40}")
        assert second("", "run/deeper/than/these") == "held"
