"""``trainbus checkpoints``."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run
from trainbus.checkpoints import commit, manifest_of
from trainbus.cli import main
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject


def put(path: str, step: int, **metrics: float) -> None:
    commit(Path(path), lambda staged: staged.write_text(f"weights of {step}"), epoch=step, step=step, metrics=metrics)


def test_checkpoints_are_listed_latest_step_first_with_last_and_best(capsys: pytest.CaptureFixture[str]) -> None:
    """Epochs count from 1, each metric of known direction has its best, and nothing unverified is called intact."""
    put("b.bin", 20, val_loss=0.5, accuracy=0.9, weird=1.0)
    put("a.bin", 10, val_loss=0.25, accuracy=float("nan"), weird=2.0)
    os.utime("a.bin")

    assert main(["checkpoints", "."]) == 0

    header, first, second, *rest = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "epoch", "step", "size", "age", "state", "metrics"]
    assert first.split()[:5] == ["b.bin", "21", "20", "13", "B"]
    assert second.split()[:3] == ["a.bin", "11", "10"]
    assert all("not verified" in line for line in (first, second))
    assert rest == ["", "last: b.bin", "best val_loss: a.bin (0.25)", "best accuracy: b.bin (0.9)"]


def train_by_steps(folder: str = "run", **options: Any) -> None:
    """Save at each validation of a loop by steps, or as the options say."""
    saver = ModelCheckpoint(f"{folder}/m-{{step}}", background=False, **options)
    with Run(LineSubject(), saver, verbose=0) as run:
        for _ in run.steps(range(3), 10, validate_every=5):
            run.log(loss=1.0)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, ["10", "5"]),
        ({"save_freq": "3 steps"}, ["9", "6", "3"]),
        ({"save_freq": 4}, ["8", "4"]),
        ({"save_weights_only": True}, ["10", "5"]),
        ({"save_best_only": True, "monitor": "loss"}, ["5"]),
        ({"keep_last": 1}, ["10"]),
    ],
)
def test_checkpoints_of_a_loop_by_steps_have_no_epoch(
    options: dict[str, Any], steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has no column of them, and JSON has validations, counted from 0."""
    train_by_steps(**options)
    assert main(["checkpoints", "run", "--verify"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "step", "size", "age", "state", "metrics"]
    assert [line.split()[1] for line in lines[: len(steps)]] == steps
    assert main(["checkpoints", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["validation"], each["step"]) for each in found] == [
        ((int(step) - 1) // 5, int(step)) for step in steps
    ]
    assert not any("epoch" in key for each in found for key in each)


def test_only_checkpoints_of_loops_over_epochs_have_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    """If both are in one directory, the others have a dash; a damaged file changes nothing."""
    train_by_steps()
    put("run/a.npz", 7, loss=2.0)
    Path("run/torn.npz").touch()
    assert main(["checkpoints", "run"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["file", "epoch", "step"]
    assert [line.split()[:3] for line in lines[:4]] == [
        ["m-10.npz", "-", "10"],
        ["a.npz", "8", "7"],
        ["m-5.npz", "-", "5"],
        ["torn.npz", "?", "?"],
    ]
    Path("run/a.npz").unlink()
    manifest_of(Path("run/a.npz")).unlink()
    assert main(["checkpoints", "run"]) == 0
    assert "epoch" not in capsys.readouterr().out


def test_verify_finds_every_damage_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """With --verify a flipped bit, another length, a missing file or manifest are named, and the command fails."""
    for step, name in enumerate(("sound", "flipped", "longer", "gone", "unlisted", "torn")):
        put(f"{name}.bin", step, loss=1.0)
    assert main(["checkpoints", ".", "--verify"]) == 0
    assert capsys.readouterr().out.count(" intact ") == 6

    Path("flipped.bin").write_text("Weights of 1")
    with Path("longer.bin").open("a") as file:
        file.write("!")
    Path("gone.bin").unlink()
    manifest_of(Path("unlisted.bin")).unlink()
    manifest_of(Path("torn.bin")).write_text("{")

    assert main(["checkpoints", ".", "--verify"]) == 1
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if ".bin " in line}
    assert " intact " in lines["sound.bin"]
    for name, flaw in (
        ("flipped", "damaged: its bytes"),
        ("longer", "damaged: 13 bytes, not 12"),
        ("gone", "missing"),
        ("unlisted", "manifest 'trainbus.unlisted.bin.json' is missing"),
        ("torn", "manifest 'trainbus.torn.bin.json' is damaged"),
    ):
        assert flaw in lines[f"{name}.bin"]


@pytest.mark.parametrize(
    ("damage", "sentence"), [("flipped", "is damaged"), ("shortened", "is damaged"), ("gone", "is missing")]
)
def test_verify_finds_a_damaged_or_missing_history_and_fails(
    damage: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoints that name it are intact, and say so."""
    with Run(LineSubject(), ModelCheckpoint("run/m-{epoch}"), verbose=0) as run:
        for _ in run.epochs(3):
            run.log(val_loss=1.0)
    assert main(["checkpoints", "run", "--verify"]) == 0
    (history,) = Path("run").glob("trainbus.history-*")
    content = history.read_bytes()
    history.unlink()
    if damage != "gone":
        history.write_bytes(content[:-9] if damage == "shortened" else b"x" + content[1:])
    capsys.readouterr()

    assert main(["checkpoints", "run"]) == 0
    assert main(["checkpoints", "run", "--verify"]) == 1
    assert f"intact, but its history {sentence}" in capsys.readouterr().out
    assert main(["checkpoints", "run", "--verify", "--json"]) == 1
    assert [each["intact"] for each in json.loads(capsys.readouterr().out)] == [True] * 3


def test_machines_read_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json contains the numbers of the manifests; an unverified checkpoint counts as neither intact nor damaged."""
    put("a.bin", 1, loss=2.0)
    put("b.bin", 2, loss=3.0)

    main(["checkpoints", ".", "--json"])
    (last, first) = json.loads(capsys.readouterr().out)
    assert (last["path"], last["epoch"], last["last"], last["best"], last["intact"]) == ("b.bin", 2, True, [], None)
    assert (first["metrics"], first["best"]) == ({"loss": 2.0}, ["loss"])
    main(["checkpoints", ".", "--json", "--verify"])
    assert [each["intact"] for each in json.loads(capsys.readouterr().out)] == [True, True]


def test_a_directory_without_checkpoints_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty directory is not an error; a missing one or a file is."""
    Path("file").touch()
    Path("empty").mkdir()

    assert main(["checkpoints", "empty"]) == 0
    assert capsys.readouterr().out == "no checkpoints in 'empty'\n"
    for name, what in (("nowhere", "does not exist"), ("file", "is a file")):
        assert main(["checkpoints", name]) == 2
        assert capsys.readouterr().err == f"trainbus: {name!r} {what}; give a directory\n"


def test_names_in_a_directory_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in a file name are not printed."""
    put("\x1b[2Jevil.bin", 1, **{"loss\n": 1.0})

    assert main(["checkpoints", "."]) == 0
    printed = capsys.readouterr().out
    assert "?[2Jevil.bin" in printed
    assert "\x1b" not in printed
    assert "loss?=1" in printed
