"""A training with its checkpoints in a store is saved, killed, resumed and stopped as one that has them on its disk."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from s3fs import S3FileSystem

from tests.servers import ACCOUNT, SERVED, SERVERS
from trainbus import CheckpointError, Run, decision, hookimpl
from trainbus.checkpoints import local_copy, manifest_of, read, scan
from trainbus.cli import main
from trainbus.engine.stopping import stop_file
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.resume.end_record import NAME
from trainbus.storage import remote_cache
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import Location, location
from trainbus.testing import EventRecorder, LineSubject

from .kills import BETWEEN, killed, save_with_trainbus
from .listing import without_history
from .resuming import Moment, lines, suffix, trained, warm_up
from .subjects import KINDS, number_in

SCORES = [0.9, 0.5, 0.7, 0.4, 0.8, 0.85, 0.6]


@pytest.fixture(params=["disk", "memory", *SERVERS])
def directory(request: pytest.FixtureRequest, log_in: Callable[[str], str], tmp_path: Path) -> Location:
    """Return an empty directory on the local disk, in memory and on each server in turn."""
    if request.param == "disk":
        return tmp_path / "run"
    root = log_in(request.param) if request.param in SERVED else "memory://tests"
    return location(f"{root}/{secrets.token_hex(8)}")


def train(callbacks: Any, *, epochs: int = 7, **options: Any) -> Run:
    """A line that learns a little in each epoch, with scripted scores."""
    subject = LineSubject()
    with Run(subject, callbacks, verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches(range(2)):
                subject.slope = subject.slope + 1
                run.log(loss=0.0)
            run.log(val_loss=SCORES[epoch])
    return run


def files_in(directory: Location) -> list[str]:
    return sorted(
        name
        for name in without_history(backend_for(directory).list_names())
        if not name.startswith((".trainbus", "journal"))
    )


def test_the_same_files_are_kept_and_forgotten(directory: Location) -> None:
    """Names, retention, fixed names and the restored weights are those of a run on the disk; nothing else is left."""
    saver = ModelCheckpoint(
        f"{directory}/m-{{epoch:02d}}-{{val_loss:.2f}}", keep=2, keep_last=1, save_last=True, save_on=("end",)
    )
    run = train([saver, EarlyStopping(patience=2, restore_best_weights=True)])

    names = ["end.npz", "last.npz", "m-02-0.50.npz", "m-04-0.40.npz", "m-06-0.85.npz"]
    assert files_in(directory) == sorted([*names, *(f"trainbus.{name}.json" for name in names)])
    assert sorted(path.name for path in run.state.files) == names
    assert [read(directory / name).step for name in names] == [12, 12, 4, 8, 12]
    assert run.subject.slope == 8, "restored from the best epoch"


def test_a_run_continues_from_a_file_a_directory_or_what_it_finds(directory: Location) -> None:
    """Each way of naming a checkpoint finds it; if the newest is damaged, the previous one is used."""
    saver = ModelCheckpoint(f"{directory}/m-{{epoch}}")
    with pytest.raises(ValueError, match=rf"resume='{directory}/m-3\.npz': no such file"):
        train(saver, resume=f"{directory}/m-3.npz")
    assert train(saver, epochs=3, resume="auto").resumed is None
    for source in (f"{directory}/m-3.npz", str(directory), "auto", directory / "m-3.npz"):
        run = train([], epochs=3, resume=source) if source != "auto" else train(saver, epochs=3, resume=source)
        assert run.resumed is not None
        assert (run.resumed.path, run.step, run.subject.slope) == (directory / "m-3.npz", 6, 6)
    backend_for(directory / "m-3.npz").replace("damaged")

    run = train(saver, epochs=4, resume="auto")

    assert run.resumed is not None
    assert run.resumed.path == directory / "m-2.npz"
    assert (run.step, run.subject.slope) == (8, 8)
    assert [found.flaw for found in scan(directory, verify=True)] == [""] * 4


def test_what_the_best_epoch_held_is_restored_after_a_resume(directory: Location) -> None:
    """A snapshot kept in memory is also saved next to the checkpoints, and is restored even if no checkpoint has it."""
    callbacks = [
        ModelCheckpoint(f"{directory}/last", save_freq="3 epochs"),
        EarlyStopping(patience=9, restore_best_weights=True),
    ]
    train(callbacks, epochs=6, signals=())
    assert read(directory / "last.npz").epoch == 5

    run = train(callbacks, resume="auto")

    assert run.subject.slope == 8


def test_a_file_in_a_store_is_restored_and_a_damaged_one_refused(directory: Location) -> None:
    """Restoring reads the complete file, from any location, before it changes anything."""
    train(ModelCheckpoint(f"{directory}/m-{{epoch}}"), epochs=2)

    restores = EventRecorder("on_epoch_end", answer=lambda _: decision.restore(f"{directory}/m-1.npz"))
    assert train(restores, epochs=1).subject.slope == 2
    backend_for(directory / "m-1.npz").replace("damaged")
    with pytest.raises(CheckpointError, match=r"m-1\.npz.*is damaged"):
        train(restores, epochs=1)


def test_each_reader_downloads_a_checkpoint_once(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verified bytes are the loaded ones: at a resume, also for snapshots, and when a file is restored."""
    directory, got = location(f"{s3}/{secrets.token_hex(8)}"), list[str]()
    last, early = ModelCheckpoint(f"{directory}/last", save_freq="3 epochs"), EarlyStopping(restore_best_weights=True)
    train([last, early, ModelCheckpoint(f"{directory}/m")], epochs=6, signals=())
    real = S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **options: Any) -> Any:
        if method == "get_object" and options["Key"].endswith(".npz"):
            got.append(options["Key"].rpartition("/")[2])
        return await real(self, method, *args, **options)

    restores = EventRecorder("on_epoch_end", answer=lambda _: decision.restore(f"{directory}/m.npz"))
    monkeypatch.setattr(S3FileSystem, "_call_s3", counted)
    assert train([], resume=f"{directory}/last.npz", signals=()).resumed is not None
    (kept,) = set(got) - {"last.npz"}
    assert sorted(got) == [kept, "last.npz"]
    assert kept.startswith(".trainbus-slot-")

    got.clear()
    train(restores, epochs=1)
    assert got == ["m.npz"]
    assert os.listdir(remote_cache.process_directory()) == [remote_cache.LOCK]


def test_a_url_with_its_account_names_the_same_files(log_in: Callable[[str], str]) -> None:
    """Azure's longer way of writing a container, which its library shortens, is as good as the short one."""
    short = f"{log_in('az')}/{secrets.token_hex(8)}"
    long = short.replace("az://bucket", f"abfss://bucket@{ACCOUNT}.dfs.core.windows.net")
    saver = ModelCheckpoint(f"{long}/{{epoch}}/m")
    train(saver, epochs=2)

    run = train(saver, epochs=3, resume="auto")

    assert run.resumed is not None
    assert str(run.resumed.path) == f"{long}/2/m.npz"
    assert read(location(f"{short}/3/m.npz")).epoch == 2


def test_the_table_reads_a_store(directory: Location, capsys: pytest.CaptureFixture[str]) -> None:
    """The command lists what is there, verifies it, and says what is no directory of checkpoints."""
    train(ModelCheckpoint(f"{directory}/m-{{epoch}}"), epochs=2)
    assert main(["checkpoints", str(directory), "--verify"]) == 0
    assert capsys.readouterr().out.count("intact") == 2
    backend_for(manifest_of(directory / "m-1.npz")).replace("{")
    assert main(["checkpoints", str(directory), "--verify"]) == 1
    assert "its manifest 'trainbus.m-1.npz.json' is damaged" in capsys.readouterr().out
    for missing, state in (("nowhere", "does not exist"), ("m-2.npz", "is a file")):
        assert main(["checkpoints", f"{directory}/{missing}"]) == 2
        assert f"{missing}' {state}; give a directory" in capsys.readouterr().err


def test_a_file_named_stop_ends_the_run(directory: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to checkpoints at any location, an empty file named stop is found, removed and obeyed."""
    monkeypatch.setattr(stop_file, "SECONDS", 0.001)
    subject = LineSubject()
    run = Run(subject, ModelCheckpoint(f"{directory}/m"), verbose=0)
    with pytest.raises(KeyboardInterrupt), run:
        backend_for(directory / "stop").replace("")
        for _ in run.epochs(10**6):
            run.log(loss=1.0)

    assert run.state.requested == f"{directory}/stop"
    assert "signal.npz" in files_in(directory)
    assert "stop" not in files_in(directory)


@pytest.mark.parametrize("policy", ["raise", "warn"])
def test_a_store_that_fails_ends_the_run_or_not_as_asked(
    policy: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says what could not be written and why; the old file is complete, and the next save succeeds."""
    from fsspec.implementations.memory import MemoryFileSystem

    directory = location(f"memory://tests/{secrets.token_hex(8)}")
    real = MemoryFileSystem.put_file

    class Fails:
        @hookimpl
        def on_epoch_begin(self, epoch: int) -> None:
            def refuse(*_: Any, **__: Any) -> None:
                raise ConnectionError("the store is\nnot reached")

            monkeypatch.setattr(MemoryFileSystem, "put_file", refuse if epoch == 1 else real)

    callbacks = [Fails(), ModelCheckpoint(f"{directory}/m", on_error=policy)]
    if policy == "raise":
        with pytest.raises(CheckpointError, match=r"m\.npz' was not written: the store is not reached"):
            train(callbacks)
        assert read(directory / "m.npz").epoch == 0
    else:
        run = train(callbacks, epochs=3)
        assert len(run.failures) == 1
        assert caplog.text.count("was not written: the store is not reached; the training continues") == 1
        assert read(directory / "m.npz").epoch == 2


def test_a_missing_bucket_is_refused_before_training(bucket: str) -> None:
    """One line names the directory, and says that the store has no such bucket, when the run begins."""
    nowhere = bucket.replace("bucket", "nowhere")
    with pytest.raises(CheckpointError, match=rf"^checkpoints cannot be saved in '{nowhere}': .*does not exist\.?$"):
        Run(LineSubject(), ModelCheckpoint(f"{nowhere}/m")).begin()


@pytest.mark.parametrize(
    ("protocol", "variable", "message"),
    [
        ("s3", "AWS_ACCESS_KEY_ID", r"Unable to locate credentials; set AWS_ACCESS_KEY_ID and .*\)$"),
        ("az", "AZURE_STORAGE_CONNECTION_STRING", r"credentials!!; set AZURE_STORAGE_CONNECTION_STRING, or .*\)$"),
    ],
)
def test_missing_credentials_are_refused_before_training(
    protocol: str, variable: str, message: str, log_in: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing credentials are an error of one line that says which, when the run begins."""
    bucket = log_in(protocol)
    monkeypatch.delenv(variable)
    fsspec.get_filesystem_class(protocol).clear_instance_cache()
    for run in (Run(LineSubject(), ModelCheckpoint(f"{bucket}/m")), Run(LineSubject(), resume=f"{bucket}/m.pt")):
        with pytest.raises(CheckpointError, match=message):
            run.begin()
    fsspec.get_filesystem_class(protocol).clear_instance_cache()


def test_wrong_credentials_are_refused_before_training(
    log_in: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says that the store does not know them, and nothing of what its support asks for."""
    bucket, variable = log_in("az"), "AZURE_STORAGE_CONNECTION_STRING"
    monkeypatch.setenv(variable, os.environ[variable].replace("AccountKey=Eby", "AccountKey=Abc"))
    fsspec.get_filesystem_class("az").clear_instance_cache()
    with pytest.raises(
        CheckpointError, match=r"failed to authenticate[^:]*; check that the credentials are valid for .*$"
    ):
        Run(LineSubject(), ModelCheckpoint(f"{bucket}/m")).begin()
    fsspec.get_filesystem_class("az").clear_instance_cache()


@pytest.mark.parametrize(
    "commands",
    [
        {"fsspec s3": "pip install 'trainbus[remote]'"},
        {"s3fs s3": "pip install s3fs", "gcsfs gs": "pip install gcsfs", "adlfs az": "pip install adlfs"},
    ],
    ids=["fsspec", "drivers"],
)
def test_a_missing_package_is_named_before_training(commands: dict[str, str]) -> None:
    """A run with a URL cannot be made without the package that reaches it; the error has the command."""
    code = (
        "import sys; from trainbus import Run, MissingDependency; from trainbus.plugins import ModelCheckpoint\n"
        "from trainbus.testing import LineSubject\n"
        "for package, protocol in map(str.split, sys.argv[1:]):\n"
        "    sys.modules[package] = None\n"
        "    try: Run(LineSubject(), ModelCheckpoint(f'{protocol}://b/m'))\n"
        "    except MissingDependency as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *commands], check=True, capture_output=True, text=True)
    out = done.stdout.splitlines()
    assert [line.endswith(command) for line, command in zip(out, commands.values(), strict=True)] == [True] * len(out)


@pytest.mark.exhaustive
def test_a_killed_saver_leaves_the_last_or_the_next_checkpoint(bucket: str) -> None:
    """Of 6 kills at random times during saves to the server none leaves a mixture, a loss, or foreign plugin state."""
    kind = KINDS["line"](1000)
    directory = location(f"{bucket}/{secrets.token_hex(8)}")
    path, inside = directory / "best.npz", 0
    for trial in range(1, 7):
        saved, going = killed(partial(save_with_trainbus, kind, path, trial * BETWEEN))  # type: ignore[arg-type]
        inside += going != 0
        found = read(path)
        with local_copy(path, found.entry.digest) as file:
            assert number_in(kind, file) == found.epoch
        assert saved <= found.epoch <= max(saved, going)
    assert inside >= 2, "the kills fell into saves"

    train(ModelCheckpoint(str(path)), epochs=1)
    assert backend_for(directory).list_names() == [NAME, "best.npz", "trainbus.best.npz.json"]


@pytest.mark.parametrize(
    ("name", "batches"),
    [
        ("torch", True),
        pytest.param("keras", False, marks=pytest.mark.exhaustive),
        pytest.param("sgd", False, marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.exhaustive
def test_killed_and_resumed_it_reports_what_the_uninterrupted_run_reported(
    name: str, batches: bool, bucket: str, tmp_path: Path
) -> None:
    """Saved in the background to the server: decisions, rates, names and weights are the same to the bit."""
    warm_up(name)
    directory, events = location(f"{bucket}/{secrets.token_hex(8)}"), tmp_path / "events"
    run = partial(trained, name, directory, events, batches=batches)  # type: ignore[arg-type]
    assert run() == 0
    uninterrupted, files = lines(events), files_in(directory)
    fsspec.filesystem(bucket.partition(":")[0]).rm(str(directory), recursive=True)

    assert run(moment=Moment("batch", 23)) == -signal.SIGKILL
    assert run(resume="auto") == 0

    assert lines(events) == suffix(lines(events), uninterrupted)
    assert 0 < len(lines(events)) < len(uninterrupted)
    assert files_in(directory) == files
    assert os.listdir(tmp_path) == ["events"]
