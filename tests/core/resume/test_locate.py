"""The checkpoint to resume from is found by path, by directory, or among the files that the callbacks write."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus import CheckpointError, Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.checkpoints import newest, scan
from trainbus.plugins import ModelCheckpoint
from trainbus.resume.locate import locate, state_of

from .scored import SAVED, resumed


def test_auto_starts_from_the_beginning_or_continues_from_the_newest_checkpoint() -> None:
    first = resumed([3.0, 2.0], SAVED)
    second = resumed([3.0, 2.0, 1.0], SAVED)

    assert first.resumed is None
    assert second.resumed is not None
    assert second.resumed.epoch == 1
    assert second.history["val_loss"] == [3.0, 2.0, 1.0]
    assert second.result.epochs == 3


def test_auto_needs_a_callback_that_saves() -> None:
    with pytest.raises(SettingsError, match="list ModelCheckpoint, or give a path"):
        resumed([1.0])


def test_a_missing_path_is_refused_with_the_nearest_name() -> None:
    resumed([3.0], SAVED)

    with pytest.raises(SettingsError, match=re.escape("no such file; did you mean 'm-1.npz'?")):
        resumed([3.0], SAVED, resume="run/m-1.np")


def test_a_directory_without_a_checkpoint_is_refused_with_the_way_to_start_from_the_beginning() -> None:
    with pytest.raises(
        SettingsError, match="no intact checkpoint of a run; resume='auto' starts from the beginning if"
    ):
        resumed([3.0], SAVED, resume=Path.cwd())


def test_a_run_continues_from_a_file_and_from_a_directory_as_from_auto() -> None:
    resumed([3.0, 2.0], SAVED)

    assert resumed([3.0, 2.0, 1.0], resume="run/m-1.npz").history["val_loss"] == [3.0, 2.0, 1.0]
    assert resumed([3.0, 2.0, 1.0], resume=Path("run")).resumed == newest(scan(Path("run")))[0]


def directory_run(resume: Any) -> Run:
    """A run that saves directories of shards."""
    model = torch.nn.Linear(1, 1)
    saver = ModelCheckpoint("run/m-{epoch}.dcp")
    subject = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with Run(subject, saver, verbose=0, resume=resume) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)
    return run


@pytest.mark.parametrize(
    "given",
    [
        *("run/m-1.dcp", "run/m-1.dcp/", "./run/../run/m-1.dcp", Path("run/m-1.dcp")),
        *(lambda: Path("run/m-1.dcp").absolute(), lambda: str(Path("run/m-1.dcp").absolute())),
    ],
)
def test_a_sharded_directory_is_named_as_a_file_is(given: Any) -> None:
    """In each form of its path; the run trains on from it, and not from the newest one."""
    directory_run(None)
    again = directory_run(given() if callable(given) else given)

    assert again.resumed is not None
    assert (again.resumed.path.name, again.resumed.epoch) == ("m-1.dcp", 0)
    assert len(again.history["loss"]) == 2


@pytest.mark.parametrize("missing", ["run/m-3.dcp", "run/m-1.dc", "run/m-1.dcp/shards"])
def test_a_sharded_directory_that_is_missing_is_refused(missing: str) -> None:
    directory_run(None)
    with pytest.raises(SettingsError, match=re.escape(f"resume={missing!r}: no such file")):
        directory_run(missing)


def test_a_sharded_directory_that_is_damaged_or_has_no_manifest_is_refused() -> None:
    """By what is wrong with it; it is not searched for checkpoints."""
    directory_run(None)
    (shard,) = Path("run/m-1.dcp").glob("shards-*/*.distcp")
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=re.escape("m-1.dcp' is damaged")):
        directory_run("run/m-1.dcp")
    Path("run/trainbus.m-2.dcp.json").unlink()
    with pytest.raises(CheckpointError, match=re.escape("its manifest 'trainbus.m-2.dcp.json' is missing")):
        directory_run("run/m-2.dcp")


@pytest.mark.parametrize("here", [".", Path(), "./"])
def test_the_working_directory_is_a_directory_too(here: Any) -> None:
    saved = ModelCheckpoint("m-{epoch}")
    resumed([3.0, 2.0], saved, resume=None)

    run = resumed([3.0, 2.0, 1.0], saved, resume=here)
    assert run.resumed is not None
    assert run.resumed.path == Path("m-2.npz")
    assert list(run.state.files) == [Path("m-1.npz"), Path("m-2.npz"), Path("m-3.npz")]


@pytest.mark.parametrize("source", [True, 5, "", "Auto"])
def test_what_is_no_path_is_refused_with_what_is_one(source: Any) -> None:
    with pytest.raises(SettingsError, match=rf"resume={source!r}: .*'auto'"):
        resumed([3.0], SAVED, resume=source)


def test_a_damaged_newest_checkpoint_is_skipped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    resumed([3.0, 2.0], SAVED)
    path = Path("run/m-2.npz")
    path.write_bytes(path.read_bytes()[:-1])

    run = resumed([3.0, 2.0, 1.0], SAVED)

    assert run.resumed is not None
    assert run.resumed.epoch == 0
    assert f"skipped: {path}" in caplog.text
    assert newest(scan(Path("run")))[1] == []


def test_if_no_checkpoint_is_intact_auto_logs_that_it_starts_from_the_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    resumed([3.0], SAVED)
    assert "from the beginning" not in caplog.text
    Path("run/m-1.npz").write_bytes(b"")

    assert resumed([3.0], SAVED).resumed is None
    assert "resume='auto': no checkpoint is intact; the run starts from the beginning" in caplog.text


@pytest.mark.parametrize("suffix", ["", ".npz"])
def test_auto_finds_a_checkpoint_with_a_shortened_name(suffix: str) -> None:
    """The loss of a run that explodes makes names that no file system takes."""
    saved = ModelCheckpoint(f"run/m-{{val_loss:.2f}}-{{epoch}}{suffix}", keep_last=1)
    resumed([3.0, 1e300], saved)

    run = resumed([3.0, 1e300, 2.0], saved)
    assert run.resumed is not None
    assert run.resumed.epoch == 1


def test_if_only_files_of_other_names_exist_auto_logs_that_it_starts_from_the_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A changed template is reported at once, not noticed when epochs are trained again."""
    resumed([3.0], SAVED)

    assert resumed([3.0], ModelCheckpoint("run/other-{epoch}")).resumed is None
    assert "m-1.npz' is not a file that the callbacks write; the run starts from the beginning" in caplog.text


def test_a_checkpoint_without_its_manifest_is_refused_with_the_way_out() -> None:
    resumed([3.0], SAVED)
    Path("run/m-1.npz").rename("m.npz")

    with pytest.raises(CheckpointError, match=r"'trainbus\.m\.npz\.json' is missing; copy its manifest from"):
        resumed([3.0], resume="m.npz")


def test_a_damaged_checkpoint_that_is_named_is_refused() -> None:
    resumed([3.0, 2.0], SAVED)
    Path("run/m-2.npz").write_bytes(b"")

    with pytest.raises(CheckpointError, match=re.escape("m-2.npz")):
        resumed([3.0, 2.0, 1.0], SAVED, resume="run/m-2.npz")


def test_damaged_checkpoints_that_other_processes_found_are_left_out() -> None:
    """The newest of the others is found; none is left in the end, which "auto" allows and a directory does not."""
    resumed([3.0, 2.0], SAVED)
    one, two = Path("run/m-1.npz"), Path("run/m-2.npz")

    assert locate("auto", [SAVED]) == newest(scan(Path("run")))[0]
    for source in ("auto", "run"):
        found = locate(source, [SAVED], without=[two])
        assert found is not None
        assert (found.path, state_of(found).position.epochs) == (one, 1)
    assert locate("auto", [SAVED], without=[one, two]) is None
    with pytest.raises(SettingsError, match="no intact checkpoint"):
        locate("run", [SAVED], without=[one, two])


STRANGERS = [
    "journal.jsonl",
    "config.yaml",
    "train.log",
    "plot.png",
    "1.txt",
    "5.pth",
    "events.out.tfevents.1",
    "a.b.c",
]


@pytest.mark.parametrize("template", ["{step}", "{epoch}", "m-{epoch}", "{val_loss}", "{epoch}/m"])
def test_auto_looks_only_at_files_that_the_subject_can_have_written(
    template: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A template without a suffix matches other files of the directory, such as the journal."""
    saved = ModelCheckpoint(f"run/{template}")
    resumed([3.0], saved)
    for folder in ("run", "run/1"):
        Path(folder).mkdir(exist_ok=True)
        for name in STRANGERS:
            Path(folder, name).touch()
            Path(folder, f"m-{name}").touch()

    assert resumed([3.0, 2.0], saved).resumed is not None
    assert caplog.records == []


def test_auto_reports_a_file_of_the_subject_that_has_lost_its_manifest(caplog: pytest.LogCaptureFixture) -> None:
    saved = ModelCheckpoint("run/{step}")
    resumed([3.0], saved)
    Path("run/9.npz").write_bytes(Path("run/0.npz").read_bytes())

    assert resumed([3.0, 2.0], saved).resumed is not None
    assert "skipped: run/9.npz: " in caplog.text
