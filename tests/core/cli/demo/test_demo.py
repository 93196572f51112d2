"""The demo shows what it promises, on every framework."""

import re
from pathlib import Path

import pytest

from trainbus.cli import main
from trainbus.cli.demo import FRAMEWORKS


@pytest.mark.parametrize(
    ("framework", "suffix"),
    [
        ("sklearn", ".skops"),
        ("torch", ".pt"),
        pytest.param("keras", ".keras", marks=pytest.mark.exhaustive),
    ],
)
def test_all_four_callbacks_act_visibly(framework: str, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo cuts the rate, saves the best, stops early, restores, and prints this and where its files are."""
    assert main(["demo", "--framework", framework, "--out", "shown"]) == 0

    out = capsys.readouterr().out
    assert re.search(r"reducing learning rate to 0\.002", out)
    assert re.search(rf"val_loss improved from .* saving model to shown/best{suffix}", out)
    assert re.search(r"early stopping: val_loss .* did not improve on .* for the 4th time", out)
    summary = out[out.rindex("\n\n", 0, out.index("tensorboard --logdir")) - 400 :]
    assert re.search(r"\d+ epochs: val_loss \S+ did not improve on \S+ \(epoch \d+\) for the 4th time", summary)
    assert f"checkpoint: shown/best{suffix}" in summary
    assert "learning rate: 0.01 -> 0.002" in summary
    assert "trainbus explain shown\n" in summary
    assert "tensorboard --logdir shown/logs" in summary
    assert Path(f"shown/best{suffix}").stat().st_size > 1000
    assert list(Path("shown/logs").rglob("*tfevents*"))


OPTIONAL = [pytest.param(each, marks=pytest.mark.exhaustive) for each in FRAMEWORKS[3:]]


@pytest.mark.parametrize("framework", OPTIONAL)
def test_each_framework_on_request_acts_and_resumes(framework: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of eight epochs that is interrupted after four is that of eight in a row."""
    pytest.importorskip(framework)
    for epochs in ("4", "8"):
        assert main(["demo", "--framework", framework, "--epochs", epochs, "--out", "resumed", "--resume"]) == 0
    assert main(["demo", "--framework", framework, "--epochs", "8", "--out", "whole"]) == 0

    first, second, whole = capsys.readouterr().out.split("Training on ")[1:]
    assert "is the first value, saving model to resumed/best" in first
    assert "Resumed from resumed/best" in second
    assert "8 epochs: all epochs done" in second
    best = [re.findall(r"^best val_.*loss: .*", text, re.MULTILINE) for text in (second, whole)]
    assert best[0] == best[1] != []


def test_the_number_of_epochs_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """--epochs 2 trains two."""
    assert main(["demo", "--epochs", "2"]) == 0

    assert "2 epochs: all epochs done" in capsys.readouterr().out


@pytest.mark.parametrize("framework", ["sklearn", "torch", pytest.param("keras", marks=pytest.mark.exhaustive)])
def test_resume_continues_the_run(framework: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Three epochs and then five are five in a row; without a run in the directory there is nothing to resume."""
    for epochs in ("3", "5"):
        assert main(["demo", "--framework", framework, "--epochs", epochs, "--out", "resumed", "--resume"]) == 0
    assert main(["demo", "--framework", framework, "--epochs", "5", "--out", "whole"]) == 0

    first, second, whole = capsys.readouterr().out.split("Training on ")[1:]
    assert "Resumed" not in first
    assert "Resumed from resumed/best" in second
    assert "5 epochs: all epochs done" in second
    best = [re.findall(r"^best val_loss: .*", text, re.MULTILINE) for text in (second, whole)]
    assert best[0] == best[1] != []


@pytest.mark.parametrize("framework", ["sklearn", "torch"])
def test_a_demo_that_is_over_leaves_nothing_hidden_but_its_lock_and_its_end(framework: str) -> None:
    """Every other file is one that its output names, or the manifest or the journal of one."""
    assert main(["demo", "--framework", framework, "--epochs", "3"]) == 0
    files = {path.name for path in Path("trainbus-demo").iterdir()}
    assert {name for name in files if name.startswith(".")} <= {".trainbus.lock", ".trainbus-end.json"}
    shown = {name.partition(".")[0] for name in files if not name.startswith(".")}
    assert shown == {"best", "logs", "journal", "trainbus"}


def test_git_ignores_what_the_demo_writes() -> None:
    """In a clone of the project, where a reader tries it."""
    ignored = (Path(__file__).parents[4] / ".gitignore").read_text().splitlines()
    assert "trainbus-demo/" in ignored


def test_a_file_is_no_directory(capsys: pytest.CaptureFixture[str]) -> None:
    """--out must not name a file: one line, exit code 2, and the file stays."""
    Path("taken").write_text("precious")

    assert main(["demo", "--out", "taken"]) == 2
    assert capsys.readouterr().err == "trainbus: --out 'taken' is a file; give a directory\n"
    assert Path("taken").read_text() == "precious"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1", "1"),
        ("2", "3"),
        pytest.param("3", "1", marks=pytest.mark.exhaustive),
        pytest.param("40", "40", marks=pytest.mark.exhaustive),
        pytest.param("40", "60", marks=pytest.mark.exhaustive),
    ],
)
def test_the_demo_says_once_that_it_was_resumed(
    first: str, second: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Also if all epochs are done, or the run had stopped early."""
    assert main(["demo", "--epochs", first]) == 0
    capsys.readouterr()
    assert main(["demo", "--epochs", second, "--resume"]) == 0
    assert (capsys.readouterr().out + caplog.text).lower().count("resumed") == 1
