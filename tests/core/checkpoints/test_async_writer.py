"""Files that are written in the background are those that training would have waited for."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.storage.dying import MEMORY
from trainbus import CheckpointError, MissingCapability, Run, decision, hookimpl
from trainbus.checkpoints import manifest_of, newest_intact, read
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint
from trainbus.plugins.model_checkpoint.saver import Saver
from trainbus.testing import EventRecorder, LineSubject


class Line(LineSubject):
    """A subject whose copy is written by any thread once ``gate`` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.writers: list[str] = []
        self.full = False

    def save(self, path: Path, *, weights_only: bool) -> None:
        self.writers.append(threading.current_thread().name)
        self.gate.wait()
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(path, weights_only=weights_only)

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        copied = LineSubject(self.learning_rate)
        copied.restore(self.snapshot())
        full = self.full

        def write(path: Path) -> None:
            self.writers.append(threading.current_thread().name)
            self.gate.wait()
            if full:
                raise OSError(28, "No space left on device")
            copied.save(path, weights_only=weights_only)

        return write


def trained(losses: list[float], folder: Path, *, background: bool, **options: Any) -> tuple[Run, Line, list[Any]]:
    subject, recorder = Line(), EventRecorder("on_decision")
    saver = ModelCheckpoint(str(folder / "m-{epoch}"), monitor="loss", background=background, **options)
    stopper = EarlyStopping(monitor="loss", patience=2, restore_best_weights=True)
    with Run(subject, [saver, stopper, recorder, Journal(enabled=False)], verbose=0) as run:
        for epoch in run.epochs(len(losses)):
            subject.slope = subject.slope + 1
            run.step += 1
            run.log(loss=losses[epoch])
    decided = recorder.of("on_decision", "step", "decision")
    return run, subject, [(step, type(each).__name__, each.reason) for step, decision in decided for each in decision]


def files(folder: Path) -> dict[str, Any]:
    """Return each checkpoint's bytes and manifest, without times and random names."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.npz")):
        if path.name.startswith("."):
            continue
        content = read(path).entry.model_dump(exclude={"written"})
        run_state = content["run_state"]
        slots = {slot: each["digest"] for slot, each in run_state.pop("slots", {}).items()}
        for each in run_state["plugins"]:
            each.pop("settings", None)
            each.pop("places", None)
        for key in ("run", "decision", "places", "history"):
            run_state.pop(key, None)
        for key in ("rng", "epoch_rng", "loop_rng"):
            run_state["rank_state"].pop(key, None)
        found[path.name] = (path.read_bytes(), content, slots)
    return found


@given(
    losses=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=6),
    options=st.fixed_dictionaries(
        {},
        optional={
            "save_best_only": st.booleans(),
            "keep": st.integers(1, 2),
            "keep_last": st.integers(1, 2),
            "save_last": st.booleans(),
            "save_weights_only": st.booleans(),
            "save_on": st.just(("end",)),
        },
    ),
)
def test_the_background_changes_nothing_but_the_waiting(
    losses: list[float], options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Same decisions, same files, same run states, same result, same model."""
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    run, subject, decided = trained(losses, one, background=False, **options)
    run2, subject2, decided2 = trained(losses, other, background=True, **options)

    assert decided2 == decided
    assert files(other) == files(one)
    assert [path.name for path in run2.state.files] == [path.name for path in run.state.files]
    assert [each.path.name for each in run2.state.checkpoints] == [each.path.name for each in run.state.checkpoints]
    assert subject2.slope == subject.slope
    assert set(subject.writers) <= {"MainThread"}
    assert set(subject2.writers) <= {"trainbus-writer"}


def test_training_goes_on_while_a_file_is_written(tmp_path: Path) -> None:
    """And waits with the next file until it is complete; later training is not in it."""
    subject, path = Line(), tmp_path / "m.npz"
    with Run(subject, verbose=0) as run:
        for epoch in run.epochs(3):
            subject.slope = subject.slope + 1
            if epoch == 0:
                subject.gate.clear()
                run.decide(decision.save(str(path), background=True))
            if epoch == 2:
                assert not path.exists(), "two epochs have ended meanwhile"
                assert run.state.checkpoints == []
                subject.gate.set()
                run.decide(decision.save(str(tmp_path / "next.npz"), background=True))
                assert read(path).epoch == 0
                assert [each.path for each in run.state.checkpoints] == [path]

    assert [each.path.name for each in run.state.checkpoints] == ["m.npz", "next.npz"]
    subject.load(path)
    assert subject.slope == 1


@pytest.mark.parametrize("weights_only", [False, True])
def test_a_restore_waits_for_its_file(weights_only: bool, tmp_path: Path) -> None:
    subject = Line()
    with Run(subject, verbose=0) as run:
        for _ in run.epochs(1):
            subject.slope = subject.slope + 5
            run.decide(decision.save(str(tmp_path / "m.npz"), background=True, weights_only=weights_only))
            subject.slope = subject.slope + 1
            run.decide(decision.restore(str(tmp_path / "m.npz")))
            assert subject.slope == 5


@pytest.mark.parametrize("policy", ["raise", "warn"])
def test_a_file_that_cannot_be_written_is_reported_when_it_is_known(
    policy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of the next epoch at the latest; nothing that the failed file was to replace is lost."""
    subject, recorder = Line(), EventRecorder("on_checkpoint_error")
    saver = ModelCheckpoint(str(tmp_path / "m-{epoch}"), keep_last=1, on_error=policy, save_on=())  # type: ignore[arg-type]
    run = Run(subject, [saver, recorder], verbose=0)

    def train() -> None:
        with run:
            for epoch in run.epochs(4):
                subject.full = epoch == 1
                run.step += 1
                run.log(val_loss=1.0)

    if policy == "raise":
        with pytest.raises(CheckpointError, match="No space left") as raised:
            train()
        assert raised.value.__notes__ == ["asked for by ModelCheckpoint"]
        assert sorted(path.name for path in tmp_path.glob("m*.npz")) == ["m-1.npz"]
    else:
        train()
        assert recorder.of("on_checkpoint_error", "path", "step") == [(tmp_path / "m-2.npz", 2)]
        assert [each.plugin for each in run.failures] == ["ModelCheckpoint"]
        assert "the training continues" in caplog.text
        assert [path.name for path in run.state.files] == ["m-4.npz"]
        assert sorted(path.name for path in tmp_path.glob("m*.npz")) == ["m-4.npz"]


class Late(Line):
    """A subject whose failures are known only when the next decision has been made."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        self.gate = threading.Event()
        gate, write = self.gate, super().snapshot_writer(weights_only=weights_only)
        return lambda path: (gate.wait(), write(path))

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run) -> None:
        self.gate.set()
        run._life.executor.writer.wait()

    @hookimpl
    def on_train_end(self) -> None:
        self.gate.set()


def trained_late(losses: list[tuple[float, bool]], folder: Path, name: str = "m-{epoch:02d}", **options: Any) -> Run:
    subject = Late()
    saver = ModelCheckpoint(str(folder / name), monitor="loss", on_error="warn", **options)
    with Run(subject, [saver, subject, Journal(enabled=False)], verbose=0) as run:
        for epoch in run.epochs(len(losses)):
            subject.slope, subject.full = np.array(losses[epoch][0]), losses[epoch][1]
            run.log(loss=losses[epoch][0])
    return run


LOSSES = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), st.booleans()), min_size=1, max_size=8)


@given(LOSSES)
@example([(4.0, False), (3.0, True), (2.0, True), (5.0, False), (3.0, False)])
@example([(4.0, False), (3.0, True), (2.0, False), (2.5, False)])
def test_a_failure_that_is_reported_late_makes_no_best(losses: list[tuple[float, bool]]) -> None:
    """A value better than the best on disk and those being written is saved; a failed save counts for nothing."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    run = trained_late(losses, folder, save_best_only=True, save_on=())
    trained_late(losses, folder, "best", save_best_only=True, save_on=())

    disk, coming, expected = np.inf, (np.inf, True), list[str]()
    for epoch, (loss, full) in enumerate(losses, start=1):
        asks = loss < min(disk, coming[0])
        disk = disk if coming[1] else coming[0]
        coming = (loss, full) if asks else (np.inf, True)
        if asks and not full:
            expected.append(f"m-{epoch:02d}.npz")
    assert sorted(path.name for path in folder.glob("m*.npz")) == expected
    assert sorted(path.name for path in run.state.files) == expected
    if expected:
        best = LineSubject()
        best.load(folder / "best.npz")
        assert best.slope == min(disk, np.inf if coming[1] else coming[0])


@given(LOSSES, st.integers(0, 2), st.integers(0, 2), st.booleans())
@example([(4.0, False), (3.0, True), (2.0, True), (5.0, False), (3.0, False)], 1, 0, False)
@example([(4.0, False), (5.0, False), (3.0, True), (2.0, False)], 2, 0, False)
@example([(4.0, False), (3.0, False), (2.0, False)], 0, 1, True)
def test_nothing_goes_for_a_file_that_never_came(
    losses: list[tuple[float, bool]], keep: int, keep_last: int, save_last: bool
) -> None:
    """Of the written files the best and the last exist, and the run lists exactly the existing ones."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    options: dict[str, Any] = {"keep": keep or None, "keep_last": keep_last or None, "save_last": save_last}
    if save_last:
        (folder / "last.npz").mkdir()  # one that fails each time
    run = trained_late([*losses, (0.0, False), (0.0, False)], folder, save_on=(), **options)

    there = {path.name for path in folder.glob("m*.npz")}
    written = {checkpoint.path.name: checkpoint for checkpoint in run.state.checkpoints}
    logged = dict(run.state.epoch_metrics)
    ranked = sorted(written, key=lambda name: (logged[written[name].epoch]["loss"], name))
    assert there >= set(ranked[:keep]) | set(sorted(written)[-keep_last or len(written) :])
    assert there == {path.name for path in run.state.files if path.name != "last.npz"}
    kept = next(each.state_dict() for each in run.plugins.values() if isinstance(each, Saver))["kept"]
    assert not (keep or keep_last) or {Path(path).name for path, *_ in kept} == there


def test_a_subject_that_cannot_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(
        MissingCapability,
        match=r"needs a subject that can be written to a file while it trains, but .* has no snapshot_w",
    ):
        Run(LineSubject(), ModelCheckpoint(str(tmp_path / "m"), background=True))


LEFT = """
import sys, threading
from pathlib import Path
from trainbus import Run, decision
sys.path.insert(0, {root!r})
from tests.core.checkpoints.test_async_writer import Line

subject = Line()
subject.gate.clear()
run = Run(subject, verbose=0)
run.__enter__()
for _ in run.epochs(1):
    run.decide(decision.save("m.npz", background=True))
threading.Timer(0, subject.gate.set).start()
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("", marks=pytest.mark.exhaustive),
        pytest.param("sys.exit(3)", marks=pytest.mark.exhaustive),
        "raise ValueError",
    ],
)
def test_a_process_that_ends_waits_for_the_file(end: str, tmp_path: Path) -> None:
    """Also if the run was never ended."""
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", LEFT.format(root=root, end=end)], cwd=tmp_path, check=False)

    assert done.returncode == {"": 0, "sys.exit(3)": 3, "raise ValueError": 1}[end]
    found, flawed = newest_intact(tmp_path)
    assert found is not None
    assert not flawed


def test_ctrl_c_while_waiting_ends_at_once_and_spoils_nothing(tmp_path: Path) -> None:
    """The old file stays; the one being written never replaces it, not even when it is complete."""
    subject = Line()
    path = tmp_path / "m.npz"
    with pytest.raises(KeyboardInterrupt), Run(subject, verbose=0, signals=()) as run:
        for _ in run.epochs(1):
            run.decide(decision.save(str(path), background=True))
            run.decide(decision.save(str(tmp_path / "other.npz")))
            before = path.read_bytes(), manifest_of(path).read_bytes()
            subject.gate.clear()
            subject.slope = subject.slope + 1
            run.decide(decision.save(str(path), background=True))
            job = run._life.executor.writer._writer._job
            with pytest.MonkeyPatch.context() as patch:  # the signal comes when the training waits
                patch.setattr(job.done, "wait", lambda: signal.raise_signal(signal.SIGINT))
                run.decide(decision.save(str(path), background=True))

    patch.undo()
    subject.gate.set()
    job.done.wait()
    assert path.read_bytes() == before[0]


OUTLIVED = """
import os, threading
from trainbus.checkpoints import async_writer
from trainbus.checkpoints.async_writer import AsyncWriter, SaveJob

async_writer.PATIENCE = 0.1

class Held:
    def __del__(self):
        os.read(0, 1)
        print("ended", flush=True)

def then(job):
    if {inside}:
        held = Held()
    else:
        local.held = Held()  # its thread deletes it when it ends

local = threading.local()
writer = AsyncWriter()
writer.submit(SaveJob([], then, collective={collective}), background=True)
if {abandoned}:
    writer.abandon()
print("exit", flush=True)
"""


@pytest.mark.parametrize(
    ("inside", "collective", "abandoned", "waits"),
    [
        pytest.param(True, True, True, True, id="in a collective that nobody waits for"),
        pytest.param(True, False, True, False, id="in a file that nobody waits for"),
        pytest.param(True, False, False, True, id="in a file"),
        pytest.param(False, True, False, True, id="after its last job"),
    ],
)
@pytest.mark.covering(1)
def test_the_process_ends_after_its_writer_thread(
    inside: bool, collective: bool, abandoned: bool, waits: bool, tmp_path: Path
) -> None:
    """A thread that has used torch's collectives aborts the process if it is alive when the interpreter ends."""
    script = OUTLIVED.format(inside=inside, collective=collective, abandoned=abandoned)
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "exit\n"
        if waits:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.0)
            printed, _ = process.communicate("x")
            assert printed == "ended\n"
        else:
            assert process.wait(60) == 0
        assert process.wait() == 0


ABANDONED = """
import os, sys, torch
from pathlib import Path
from trainbus.adapters.torch.files import pt
from trainbus.checkpoints.async_writer import AsyncWriter, PendingFile, SaveJob

class Held:
    def __del__(self):  # while the interpreter ends, so that a thread that is left wakes up in it
        os.read(0, 1)

held = Held()
large = torch.zeros(1 << 20)
pipe = Path("pipe")
writer = AsyncWriter()
metadata = dict(epoch=1, step=1, metrics={{}}, reason="", by=())
file = PendingFile(Path("a.pt"), lambda staged: pt.write(large, pipe), metadata)
writer.submit(SaveJob([file], None), background=True)
print("writes", flush=True)
sys.stdin.readline()
writer.abandon()
print("exit", flush=True)
"""


@pytest.mark.exhaustive
def test_torch_ends_the_file_that_is_abandoned_before_the_process_exits(tmp_path: Path) -> None:
    """A thread in C++ code that outlives the interpreter aborts the process."""
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(
        [sys.executable, "-c", ABANDONED.format()],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        with (tmp_path / "pipe").open("rb") as pipe:
            assert process.stdout.readline() == "writes\n"
            pipe.read(1 << 16)
            process.stdin.write("abandon\n")
            process.stdin.flush()
            assert process.stdout.readline() == "exit\n"
            pipe.read()
            _, errors = process.communicate("x", timeout=60)

    assert (process.returncode, errors) == (0, "")
