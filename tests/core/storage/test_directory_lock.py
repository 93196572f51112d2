"""One run at a time saves in a directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainbus import CheckpointError, Run, hookimpl
from trainbus.plugins import ModelCheckpoint
from trainbus.storage.atomic_file import STAGED
from trainbus.storage.directory_lock import LOCK, lock_directories
from trainbus.testing import LineSubject


def test_a_second_run_in_the_directory_is_refused_before_it_trains() -> None:
    """The error says that it is of this process, and names the directory; the first run is not affected."""
    with Run(LineSubject(), ModelCheckpoint("runs/best")) as first:
        second = Run(LineSubject(), ModelCheckpoint("runs/other"))
        with pytest.raises(
            CheckpointError, match=r"a run of this process that has not ended saves .*runs.*; end it first"
        ):
            second.begin()
        for _ in first.epochs(1):
            first.log(loss=1)

    assert Path("runs/best.npz").exists()


@pytest.mark.parametrize(
    "owner",
    ["process 7 on elsewhere", f"process {os.getpid()} on elsewhere", ""],
    ids=["other", "same number", "unknown"],
)
def test_a_run_of_another_process_is_named(owner: str) -> None:
    """Also one that has the same number on another machine, or has not yet written its name."""
    with lock_directories([Path("runs")]):
        Path("runs", LOCK).write_text(owner)
        with pytest.raises(CheckpointError, match=rf"another run \({owner or 'starting'}\) saves its checkpoints"):
            lock_directories([Path("runs")])


def test_runs_one_after_the_other_share_a_directory() -> None:
    """A run that has ended, by itself or by an error, gives its directory back."""
    for number in range(3):
        try:
            with Run(LineSubject(), ModelCheckpoint(f"runs/{number}")) as run:
                for _ in run.epochs(1):
                    run.log(loss=1)
                if number == 1:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            continue

    assert len(list(Path("runs").glob("*.npz"))) == 3


class Interrupting:
    """A plugin that the user interrupts at the end of the training."""

    @hookimpl
    def on_train_end(self) -> None:
        raise KeyboardInterrupt


def test_a_run_that_is_interrupted_at_its_end_gives_its_directory_back() -> None:
    """After Ctrl-C while plugins handle the end, a later run can save there."""
    run = Run(LineSubject(), [ModelCheckpoint("runs/best"), Interrupting()])
    with pytest.raises(KeyboardInterrupt), run:
        pass

    lock_directories([Path("runs")]).close()


def test_two_callbacks_of_one_run_share_a_directory() -> None:
    """The lock is the run's, not the callback's."""
    with Run(LineSubject(), [ModelCheckpoint("runs/a"), ModelCheckpoint("runs/{epoch}/b")]) as run:
        for _ in run.epochs(1):
            run.log(loss=1)

    assert Path("runs/1/b.npz").exists()


def test_a_dead_process_holds_no_lock() -> None:
    """A lock that another process holds refuses; once it is dead the directory is free, and its debris is swept."""
    script = (
        "import sys; from pathlib import Path; from trainbus.storage.directory_lock import lock_directories\n"
        "lock = lock_directories([Path('runs')]); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match=f"process {holder.pid} on"):
            lock_directories([Path("runs")])
        holder.kill()
        holder.wait()
    debris = Path("runs") / f"{STAGED}abc.npz"
    debris.touch()

    with Run(LineSubject(), ModelCheckpoint("runs/best")):
        assert not debris.exists()


def test_all_or_none_of_several_directories_are_owned() -> None:
    """If one directory is refused, the others are released."""
    with lock_directories([Path("b")]):
        with pytest.raises(CheckpointError):
            lock_directories([Path("a"), Path("b")])
        lock_directories([Path("a")]).close()

    assert Path("a", LOCK).exists()


def test_a_directory_that_cannot_be_made_is_refused_before_training() -> None:
    """A file at the path of the directory is an error of one line at the start."""
    Path("runs").write_text("in the way")

    with (
        pytest.raises(CheckpointError, match="checkpoints cannot be saved in"),
        Run(LineSubject(), ModelCheckpoint("runs/best")),
    ):
        pass


TOGETHER = {
    "a directory that a field can name": ("run/{epoch}/m", "run/3/m", True),
    "another file there": ("run/{epoch}/m", "run/3/best", True),
    "a field with text": ("run/e{epoch}/m", "run/e3/m", True),
    "a metric": ("run/{val_loss:.2f}/m", "run/0.25/m", True),
    "deeper": ("run/{epoch}/x/m", "run/3/x/m", True),
    "two fields": ("run/{epoch}/{step}/m", "run/3/{step}/m", True),
    "a field each": ("run/{epoch}/x/m", "run/3/{loss}/m", True),
    "a link to it": ("run/{epoch}/m", "link/3/m", True),
    "a name with brackets": ("run[1]/{epoch}/m", "run[1]/3/m", True),
    "side by side": ("run/a", "other/a", False),
    "one in the other": ("out/m-{epoch}", "out/sub/m-{epoch}", False),
    "a directory without a number": ("run/{epoch}/m", "run/best/m", False),
    "one that begins otherwise": ("run/{epoch:03d}/m", "run/exp3/m", False),
    "a sign": ("run/{epoch:+}/m", "run/+3/m", True),
    "spaces": ("run/{epoch:3}/m", "run/  3/m", True),
    "hexadecimal": ("run/{epoch:x}/m", "run/a/m", True),
    "below one that a field can name": ("run/{epoch}/m", "run/3/x/m", False),
    "above it": ("run/{epoch}/x/m", "run/3/m", False),
    "other texts": ("run/{epoch}/x/m", "run/3/y-{step}/m", False),
}


def run_in(template: str) -> Run:
    return Run(LineSubject(), ModelCheckpoint(template), verbose=0)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kind", TOGETHER)
def test_runs_with_a_directory_in_common_are_refused_whichever_begins_first(kind: str, first: int) -> None:
    """Also if the directory does not exist yet; others may lie in each other."""
    *templates, refused = TOGETHER[kind]
    Path("run").mkdir()
    Path("link").symlink_to("run")
    with run_in(templates[first]):
        if not refused:
            run_in(templates[1 - first]).begin()
            return
        with pytest.raises(CheckpointError, match=r"a run of this process .* give each run its own directory"):
            run_in(templates[1 - first]).begin()
    with run_in(templates[1 - first]) as run:
        for _ in run.epochs(1):
            run.log(loss=1, val_loss=0.25)
    assert run.result.epochs == 1


SECOND = """
import sys
from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject
with Run(LineSubject(), ModelCheckpoint(sys.argv[1]), verbose=0) as run:
    for epoch in run.epochs(1):
        run.log(loss=1.0)
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ("run/{epoch}/m", "run/3/m"),
        pytest.param("run/3/m", "run/{epoch}/m", marks=pytest.mark.exhaustive),
    ],
)
def test_a_living_process_is_named_and_a_dead_one_refuses_nothing(theirs: str, mine: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SECOND, theirs], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "begun\n"
        with pytest.raises(CheckpointError, match=rf"another run \(process {other.pid} on .*run/3'"):
            run_in(mine).begin()
        other.kill()
        other.wait()
    with run_in(mine):
        pass


@pytest.mark.parametrize("record", ["", "process 7 on there", "process 7 on there\n7\n\n\n\n\n\n[[", "\n" * 9])
def test_a_damaged_record_of_a_lock_around_refuses_nothing(record: str) -> None:
    Path("run").mkdir()
    Path("run", LOCK).write_text(record)
    with run_in("run/3/m"):
        pass


@pytest.mark.parametrize(
    "template",
    ["run/{epoch}/m", "run/{epoch}/x/m", "run/e{epoch}/m-{step}", "run/{loss:.1f}/m", "run/m-{epoch}", "{epoch}/m"],
)
def test_the_next_run_removes_what_a_dead_one_has_staged_in_any_of_its_directories(template: str) -> None:
    """Also in a directory to which it does not save itself; what is elsewhere stays."""
    with run_in(template) as run:
        for _ in run.epochs(2):
            run.log(loss=1)
    for path in run.result.checkpoints:
        path.with_name(f"{STAGED}abc.npz").touch()
    Path("run/other").mkdir(parents=True, exist_ok=True)
    Path("run/other", f"{STAGED}abc.npz").touch()

    with run_in(template):
        pass

    left = set(Path().rglob(f"{STAGED}*"))
    assert left <= {Path("run/other", f"{STAGED}abc.npz")}
    assert bool(left) == (template != "run/{loss:.1f}/m")
