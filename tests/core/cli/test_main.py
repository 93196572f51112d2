"""The command line: its output, its errors and its exit codes."""

import io
import subprocess
import sys
from importlib.metadata import version

import pytest

import trainbus
from trainbus.cli import main


def test_callbacks_lists_all_that_is_installed_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Every callback, adapter, binding and plugin has a line with name, summary and package."""
    assert main(["callbacks"]) == 0

    lines = capsys.readouterr().out.splitlines()
    for name in ("EarlyStopping", "LearningRateScheduler", "ReduceLROnPlateau", "TensorBoard", "keras", "progress"):
        line = next(line for line in lines if line.split()[0] == name)
        assert line.endswith("[trainbus]")
        assert len(line.split()) > 4
        assert "`" not in line
    assert not [line for line in lines if "trainbus.adapters" in line]  # each binding has a summary, installed or not


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "arguments are required: COMMAND"),
        (
            ["dmo"],
            (
                "unknown command 'dmo'; choose from demo, callbacks, checkpoints, replay, sweep, compare, explain, "
                "check, schema; did you mean 'demo'?"
            ),
        ),
        (
            ["demo", "--framework", "pytorch"],
            (
                "unknown value 'pytorch'; choose from sklearn, torch, keras, lightning, transformers, jax, xgboost, "
                "lightgbm; did you mean 'torch'?"
            ),
        ),
        (["demo", "--epochs", "0"], "'0' is not a whole number above 0"),
        (["demo", "--epochs", "many"], "'many' is not a whole number above 0"),
        (["demo", "--ot", "x", "y"], "unrecognized arguments: --ot x y; did you mean '--out'?"),
    ],
)
def test_bad_arguments_give_one_clear_line(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong arguments end with exit code 2 and one line that says what is wrong."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)

    assert raised.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert sentence in captured.err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """One number: the command's, the module's and the one that is installed."""
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"trainbus {trainbus.__version__}\n"
    assert trainbus.__version__ == version("trainbus")


def test_the_command_is_installed() -> None:
    """``trainbus`` runs as a program, and its help names every command."""
    result = subprocess.run(
        [f"{sys.prefix}/bin/trainbus", "--help"], capture_output=True, text=True, check=True, timeout=60
    )

    assert "demo" in result.stdout
    assert "callbacks" in result.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8"])
def test_names_that_the_output_cannot_encode_are_told_apart(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Letters are escaped, and a plot keeps its lines."""
    names = ["val_准确率", "val_损失", "τ", "😀", "é"]
    with trainbus.Run(None, [{"callback": "Journal", "path": "run.jsonl"}]) as run:
        for epoch in run.epochs(3):
            run.log(dict.fromkeys(names, float(epoch)))
    for name in names:
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding, write_through=True))
        assert main(["explain", "run.jsonl", "--metric", name]) == 0
        printed = out.getvalue().decode(encoding)
        assert name.encode(encoding, "backslashreplace").decode(encoding) in printed.splitlines()
        assert "?" not in printed
        assert "\\u25" not in printed
