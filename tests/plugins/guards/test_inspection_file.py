"""The name of a file for inspection has counters only, and is none that a resume would find."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run, SettingsError
from trainbus.plugins import ModelCheckpoint, TerminateOnNaN
from trainbus.testing import LineSubject


@pytest.mark.parametrize(
    ("save", "message"),
    [
        ("nan-{loss:.2f}", r"{loss}: only {run}, {epoch}, {epoch0}, {batch} and {step} are known here; leave it out"),
        ("nan-{epochs}", r"{epochs}: .* known here; did you mean {epoch}\?"),
        ("nan-{part}", r"{part}: .* known here"),
        ("nan-{}", r"a field is one name"),
        ("nan-{epoch!r}", r"a field is one name"),
        ("nan-{epoch:.2q}", r"a field is one name"),
        ("nan-{step", r"a single {; write {{"),
        ("nan-{run}", r"{run} must be part of the directory, .*; write '{run}/nan-{run}'"),
        ("{epoch}/{run}/nan", r"{run} must be part of the directory"),
        ("{run:03d}/nan", r"{run} is text and has no number format"),
    ],
)
def test_a_field_that_nothing_fills_is_refused(save: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"TerminateOnNaN: save=.*{message.replace('{', chr(92) + '{')}"):
        TerminateOnNaN(save=save)


@pytest.mark.parametrize(
    ("filepath", "save", "refused"),
    [
        ("run/m-7", "run/m-{epoch}", True),
        ("run/{step}-3", "run/{epoch}-{step}", True),
        ("run/{epoch}/m", "run/{step}/m", True),
        ("run/m-007", "run/m-{epoch:03d}", True),
        ("run/m-7", "run/n-{epoch}", False),
        ("run/best", "run/{epoch}", False),
        ("run/a/m", "run/{epoch}/m", False),
    ],
)
def test_a_name_with_fields_is_compared_with_those_of_checkpoints(filepath: str, save: str, refused: bool) -> None:
    run = Run(LineSubject(), [ModelCheckpoint(filepath, save_on=()), TerminateOnNaN(save=save)])
    if refused:
        with pytest.raises(SettingsError, match="would continue from this file"):
            run.begin()
    else:
        run.begin()
        run.end()


def diverging(save: str, **options: Any) -> Run:
    with Run(LineSubject(), TerminateOnNaN(save=save), **options) as run:
        for epoch in run.epochs(2):
            for batch in run.batches(range(3)):
                run.log(loss=math.nan if (epoch, batch) == (1, 1) else 0.5)
    return run


def mine(path: str) -> None:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("mine")


@pytest.mark.parametrize(
    ("save", "files", "shown"),
    [
        ("nan-dump", ["nan-dump.npz"], "'nan-dump.npz'"),
        ("d/nan.ckpt", ["d/nan.ckpt"], "'d/nan.ckpt'"),
        ("d/nan-{step}", ["d/nan-7.npz", "d/nan-mine.npz"], "'d/nan-7.npz'"),
        ("d/nan-{step:03d}.bin", ["d/nan-012.bin", "d/nan-007.bin", "d/nan-x.bin"], "'d/nan-007.bin' and 1 more"),
        ("d/{epoch}/nan", ["d/2/nan.npz", "d/a/nan.npz"], "'d/2/nan.npz'"),
        ("d/a[b]{{c}}", ["d/a[b]{c}.npz", "d/ab.npz"], "'d/a[b]{c}.npz'"),
    ],
)
@pytest.mark.parametrize("resume", [None, "m"])
def test_a_file_of_the_user_at_its_path_is_named_before_the_training(
    save: str, files: list[str], shown: str, resume: str | None, logged: Callable[[], list[str]]
) -> None:
    with Run(LineSubject(), ModelCheckpoint("m", save_on=())) as first:
        for _ in first.epochs(1):
            first.log(val_loss=1.0)
    for each in files:
        mine(each)
    run = Run(LineSubject(), TerminateOnNaN(save=save), resume=resume and "m.npz")
    run.begin()
    run.end()
    said = [line for line in logged() if "replace" in line]

    line = f"TerminateOnNaN: save={save!r} may replace {shown} (not saved by trainbus); to keep it, move it, or give"
    assert said == [f"{line} another path"]
    assert all(Path(each).read_text() == "mine" for each in files)


@pytest.mark.parametrize("save", ["nan-dump", "d/nan-{step}", "d/{epoch}/nan.ckpt"])
def test_a_file_of_an_earlier_run_is_named_before_the_training(save: str, logged: Callable[[], list[str]]) -> None:
    """A first run says nothing; one that keeps a file elsewhere says nothing either."""
    (dump,) = diverging(save).state.files
    assert not [line for line in logged() if "replace" in line]
    diverging(save)
    mine("other/nan.npz")
    diverging("other/n")
    (line,) = (line for line in logged() if "replace" in line)
    assert line.startswith(f"TerminateOnNaN: save={save!r} may replace {str(dump)!r} (from an earlier run); to keep")


def test_both_kinds_are_named_in_one_line(logged: Callable[[], list[str]]) -> None:
    diverging("d/nan-{step}")
    mine("d/nan-9.npz")
    Path("d/nan-8.npz").symlink_to("nowhere")
    diverging("d/nan-{step}")
    found = "'d/nan-5.npz' (from an earlier run) and 'd/nan-8.npz' and 1 more (not saved by trainbus)"
    assert sum(found in line for line in logged()) == 1


def test_each_run_with_its_own_directory_replaces_nothing(logged: Callable[[], list[str]]) -> None:
    for run_id in ("a", "b"):
        diverging("{run}/nan", run_id=run_id)
    assert not [line for line in logged() if "replace" in line]
    diverging("{run}/nan", run_id="a")
    (line,) = (line for line in logged() if "replace" in line)
    assert "may replace 'a/nan.npz' (from an earlier run)" in line


@pytest.mark.parametrize("save", ["d/nan", "d/nan.npz", "d/nan.ckpt", "./d/nan", "d/{{nan}}"])
@pytest.mark.parametrize("kind", ["directory", "FIFO"])
def test_a_path_at_which_no_file_can_be_written_is_refused(save: str, kind: str) -> None:
    """Before the training, and not when the state with the NaN is to be kept."""
    path = Path(save.replace("{{", "{").replace("}}", "}"))
    path = path if path.suffix else path.with_name(path.name + ".npz")
    path.parent.mkdir()
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(SettingsError, match=rf"TerminateOnNaN: save='.*' is a {kind}.*; name a"):
        Run(LineSubject(), TerminateOnNaN(save=save))
