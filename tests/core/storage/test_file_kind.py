"""Special files and paths that are too long are errors of trainbus, and never hang."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbus import CheckpointError, Run, SettingsError, TrainbusError
from trainbus.checkpoints import scan
from trainbus.cli import main
from trainbus.plugins import Journal, ModelCheckpoint, TensorBoard
from trainbus.storage.file_kind import check_regular, kind_of
from trainbus.testing import LineSubject

LONG, DEEP = "a" * 300, "/".join(["b" * 200] * 30)
KINDS = ["FIFO", "socket", "device", "broken link"]


def make(path: Path, kind: str) -> None:
    """Make a special file."""
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)


def train(*callbacks: object, resume: Any = None) -> Run:
    with Run(LineSubject(), list(callbacks), verbose=0, resume=resume) as run:
        for _ in run.epochs(2):
            run.log(val_loss=1.0)
    return run


@pytest.mark.parametrize("kind", [*KINDS, "directory", "file", ""])
def test_a_kind_is_told_without_reading_the_file(kind: str) -> None:
    path = Path("it")
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.touch()
    elif kind:
        make(path, kind)

    assert kind_of(path) == kind
    if kind in ("directory", "FIFO", "socket", "device"):
        with pytest.raises(OSError, match=f"it is a {kind}; give a regular file"):
            check_regular(path)
    else:
        check_regular(path)


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_a_checkpoint_never_replaces_a_special_file(kind: str) -> None:
    """Neither one that is named, nor one that a field gives."""
    make(Path("m.npz"), kind)
    make(Path("m-1.npz"), kind)

    with pytest.raises(SettingsError, match=rf"^ModelCheckpoint: filepath='m\.npz' is a {kind}, which a checkpoint"):
        train(ModelCheckpoint("m"))
    with pytest.raises(CheckpointError, match=rf"'m-1\.npz' was not written: .*it is a {kind}; give a regular file"):
        train(ModelCheckpoint("m-{epoch}"))
    assert [kind_of(Path(name)) for name in ("m.npz", "m-1.npz")] == [kind] * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["m-1.npz", "trainbus.m-1.npz.json", "journal.jsonl", ".trainbus-slot-1.npz"])
def test_a_special_file_in_a_directory_is_passed_over_or_refused(kind: str, name: str) -> None:
    """It is neither read nor waited for."""
    Path("run").mkdir()
    make(Path("run", name), kind)

    assert all(each.flaw for each in scan(Path("run")))
    with pytest.raises(SettingsError, match="no intact checkpoint"):
        train(resume="run")
    if name != "journal.jsonl":
        assert train(ModelCheckpoint("run/n-{epoch}"), resume="auto").result.epochs == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_resume_names_what_the_path_is(kind: str) -> None:
    make(Path("m.npz"), kind)

    with pytest.raises(SettingsError, match=rf"^resume='m\.npz' is a {kind}; give the path of a checkpoint$"):
        train(resume="m.npz")


@pytest.mark.parametrize("kind", ["FIFO", "socket", "broken link"])
def test_a_journal_is_no_special_file(kind: str) -> None:
    """A device such as /dev/null takes it."""
    make(Path("j.jsonl"), kind)

    with pytest.raises(SettingsError, match=r"^Journal: path='j\.jsonl': "):
        train(Journal("j.jsonl"))
    assert train(Journal("/dev/null")).result.epochs == 2


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_not_read_from_a_special_file(kind: str) -> None:
    make(Path("s.toml"), kind)

    with pytest.raises(SettingsError, match=r"^'s\.toml' cannot be read: "):
        train("s.toml")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["explain", "replay", "checkpoints"])
def test_a_command_does_not_read_a_special_file(command: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    make(Path("log.csv"), kind)

    assert main([command, "log.csv"]) != 0
    assert capsys.readouterr().err.startswith("trainbus: 'log.csv' ")


IN_THE_WAY = ["file", "FIFO", "socket", "device", "a link to a file"]
PLACES: dict[str, Callable[[str], object]] = {
    "the directory of a checkpoint": lambda path: train(ModelCheckpoint(f"{path}/m")),
    "a parent of it": lambda path: train(ModelCheckpoint(f"{path}/a/b/m-{{epoch}}")),
    "log_dir": lambda path: train(TensorBoard(path)),
    "a parent of log_dir": lambda path: train(TensorBoard(f"{path}/logs")),
    "the directory of a journal": lambda path: train(Journal(f"{path}/journal.jsonl")),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_in_the_place_of_a_directory_is_named(place: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error has no number of an operating system; nothing else is logged, and what was there stays."""
    if kind in ("file", "a link to a file"):
        Path("file").write_text("precious")
        Path("taken").symlink_to("file") if "link" in kind else Path("file").rename("taken")
    else:
        make(Path("taken"), kind)
    before = Path("taken").lstat().st_mode

    name = "file" if "file" in kind else kind
    with pytest.raises(TrainbusError, match=r"cannot be saved in '.*': ") as raised:
        PLACES[place]("taken")

    assert str(raised.value).endswith(f"' is a {name}; give a directory")
    assert caplog.text == ""
    assert Path("taken").lstat().st_mode == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo", "--out", "taken"], "--out 'taken' is a FIFO; give a directory"),
        (["demo", "--out", "taken/x"], "--out 'taken' is a FIFO; give a directory"),
        (["checkpoints", "taken"], "'taken' is a FIFO; give a directory"),
        (["check", "."], "'.' cannot be read: it is a directory; give a regular file"),
    ],
)
def test_a_command_names_what_is_in_the_place_of_a_directory_or_a_file(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("taken")
    assert main(arguments) != 0
    assert sentence in capsys.readouterr().err


TOO_LONG: dict[str, Callable[[], object]] = {
    "a name": lambda: train(ModelCheckpoint(LONG)),
    "a name with a suffix": lambda: train(ModelCheckpoint(f"{LONG}.npz")),
    "a name whose manifest has a longer one": lambda: train(ModelCheckpoint("c" * 238)),
    "a directory": lambda: train(ModelCheckpoint(f"x/{LONG}/m")),
    "a path": lambda: train(ModelCheckpoint(f"{DEEP}/m")),
    "a directory below a field": lambda: train(ModelCheckpoint(f"x/{{epoch}}/{LONG}")),
    "a link that leads to itself": lambda: (Path("loop").symlink_to("loop"), train(ModelCheckpoint("loop/m"))),
    "a resume": lambda: train(resume=LONG),
    "a deep resume": lambda: train(resume=DEEP),
    "a journal": lambda: train(Journal(LONG)),
    "a deep journal": lambda: train(Journal(f"{DEEP}/j.jsonl")),
    "a journal in a loop": lambda: (Path("loop").symlink_to("loop"), train(Journal("loop"))),
    "charts": lambda: train(TensorBoard(LONG)),
    "deep charts": lambda: train(TensorBoard(DEEP)),
    "charts in a loop": lambda: (Path("loop").symlink_to("loop"), train(TensorBoard("loop"))),
    "settings": lambda: train(f"{LONG}.toml"),
    "a name that is no text": lambda: train(ModelCheckpoint("s\udc80")),
    "a directory that is no text": lambda: train(TensorBoard("s\udc80")),
    "a journal that is no text": lambda: train(Journal("s\udc80")),
}


@pytest.mark.parametrize("case", TOO_LONG)
def test_a_path_that_cannot_be_used_is_our_error_before_anything_is_trained(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError("an epoch was trained")

    monkeypatch.setattr(Run, "log", trained)

    with pytest.raises(TrainbusError) as raised:
        TOO_LONG[case]()
    assert len(str(raised.value).splitlines()) == 1


def test_a_name_that_is_just_short_enough_is_saved() -> None:
    name = "c" * (240 - len(".npz"))

    assert train(ModelCheckpoint(name)).result.checkpoints == (Path(f"{name}.npz"),)
    assert train(ModelCheckpoint(name), resume="auto").resumed is not None


@pytest.mark.parametrize("command", ["explain", "replay", "checkpoints", "check"])
@pytest.mark.parametrize("path", [LONG, DEEP, f"{LONG}/x"])
def test_a_command_with_a_path_that_is_too_long_is_one_line(
    command: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, path]) != 0
    assert len(capsys.readouterr().err.splitlines()) == 1
