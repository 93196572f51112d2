"""``trainbus explain``."""

import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Decision, Run, decision, hookimpl
from trainbus.cli import main
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

CALLBACKS = [
    ModelCheckpoint("run/m-{epoch}", save_best_only=True),
    ReduceLROnPlateau(patience=2, factor=0.5),
    EarlyStopping(patience=3),
]


def train(scores: list[float], *listed: object, resume: str | None = None) -> None:
    with Run(LineSubject(), listed or CALLBACKS, resume=resume) as run:
        for epoch in run.epochs(len(scores)):
            run.log(val_loss=scores[epoch], loss=-scores[epoch])


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


def test_every_decision_is_printed_with_epoch_reason_and_action(capsys: pytest.CaptureFixture[str]) -> None:
    """Each decision is printed with its epoch, its reason and its effect."""
    train([0.52, 0.41, 0.3098, 0.3124, 0.3111, 0.3121, 0.2])
    shown = printed(capsys, "run").splitlines()

    assert "  EarlyStopping: patience=3" in shown
    stalled = "val_loss 0.3111 did not improve on 0.3098 (epoch 3) by more than 0.0001 for the 2nd time"
    begin = next(number for number, line in enumerate(shown) if line.startswith("epoch"))
    assert shown[begin:] == [
        "epoch 1: val_loss 0.52000 is the first value: save run/m-1.npz (ModelCheckpoint)",
        "epoch 2: val_loss improved from 0.52000 to 0.41000: save run/m-2.npz (ModelCheckpoint)",
        "epoch 3: val_loss improved from 0.41000 to 0.30980: save run/m-3.npz (ModelCheckpoint)",
        f"epoch 5: {stalled}: learning rate x 0.5 = 0.25 (ReduceLROnPlateau)",
        "epoch 6: val_loss 0.3121 did not improve on 0.3098 (epoch 3) for the 3rd time: stop (EarlyStopping)",
        "",
        shown[-5],
        "best val_loss: 0.3098 in epoch 3",
        "checkpoint: run/m-1.npz",
        "checkpoint: run/m-2.npz",
        "checkpoint: run/m-3.npz",
    ]
    assert shown[-5].endswith("s, stopped: val_loss 0.3121 did not improve on 0.3098 (epoch 3) for the 3rd time")
    assert "          ★ ↓■" in shown
    assert "★ best  ↓ learning rate cut  ■ stop" in shown


def test_repeated_decisions_are_printed_in_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Of many saves in a row, the first, the last and the number between are printed."""
    train([1.0] * 20, ModelCheckpoint("run/m"))
    shown = printed(capsys, "run")

    assert shown.count("save run/m.npz") == 6
    assert "... and 14 more of these" in shown


def test_a_directory_means_the_one_journal_in_it_or_below(capsys: pytest.CaptureFixture[str]) -> None:
    """Several journals are listed, a missing one is an error, and a number selects a run of one journal."""
    train([1.0, 2.0], Journal("a/b/journal.jsonl"))
    assert printed(capsys, ".") == printed(capsys, "a") == printed(capsys, "a/b/journal.jsonl")

    train([4.0], Journal("a/b/journal.jsonl"))
    assert "2 epochs" in printed(capsys, "a", "--run", "1")
    assert "1 epoch " in printed(capsys, "a") == printed(capsys, "a", "--run", "2")

    train([1.0], Journal("a/c/journal.jsonl"))
    Path("none").mkdir()
    for arguments, why in (
        (["a"], "has 2 journals; give the path of one: 'a/b', 'a/c'"),
        (["none"], "no journal.jsonl in 'none' or below"),
        (["aa"], "no such file or directory; did you mean 'a'?"),
        (["a/b", "--run", "3"], "has 2 runs"),
        (["a/b", "--metric", "vall_loss"], "did you mean 'val_loss'?"),
    ):
        assert main(["explain", *arguments]) == 2
        error = capsys.readouterr().err
        assert why in error
        assert len(error.splitlines()) == 1


def test_set_rates_are_explained_and_a_long_schedule_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has the rates that follow; of many in a row the first and the last are printed."""

    class Planned:
        @hookimpl
        def on_epoch_begin(self, epoch: int) -> Decision:
            return decision.set_learning_rate(2.0**-epoch)

    train([1.0] * 12, Planned(), Journal("run/journal.jsonl"))
    lines = [line for line in printed(capsys, "run").splitlines() if "learning rate" in line or "more of" in line]

    assert lines[0] == "epoch 1: learning rate set = 1 (Planned)"
    assert lines[2:4] == ["epoch 3: learning rate set = 0.25 (Planned)", "... and 6 more of these"]
    assert lines[-1] == "epoch 12: learning rate set = 0.0004883 (Planned)"


def test_a_killed_and_resumed_run_is_explained_as_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing end is reported; after the resume each epoch occurs once."""
    child = os.fork()
    if child == 0:
        with Run(LineSubject(), CALLBACKS) as run:
            for epoch in run.epochs(5):
                if epoch == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                run.log(val_loss=1.0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert "2 epochs; no end recorded: the run is still training or was killed" in printed(capsys, "run")

    train([1.0] * 9, *CALLBACKS, resume="auto")
    shown = json.loads(printed(capsys, "run", "--json"))
    assert [each["epoch"] for each in shown["events"] if each["event"] == "epoch"] == [0, 1, 2, 3]
    assert shown["void"] == 3  # the checkpoint and its decision, which are recorded again, and the epoch after them
    assert "resumed from run/m-1.npz after 1 epoch" in printed(capsys, "run")


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_no_file_makes_it_fail_in_any_other_way(content: bytes) -> None:
    """Any file that is not a journal gives one line and exit code 2."""
    Path("journal.jsonl").write_bytes(content)
    assert main(["explain", "journal.jsonl"]) == 2


def test_texts_of_a_journal_cannot_control_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names and reasons from a journal are not trusted, not even names that no run logs."""
    with Run(callbacks=Journal("j.jsonl")) as run:
        for _ in run.epochs(2):
            run.log(evil=1.0)
            run.stop("red\x1b[31m\nand more")
    journal = Path("j.jsonl")
    journal.write_text(journal.read_text().replace('"evil"', r'"evil\u001b[2J"'))

    shown = printed(capsys, "j.jsonl")
    assert "\x1b" not in shown
    assert "red?[31m?and more" in shown


def test_the_files_of_a_long_run_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """The first and the last are named, as in the result that the run prints."""
    with Run(LineSubject(), ModelCheckpoint("long/m-{epoch}", save_on=())) as run:
        for _ in run.epochs(30):
            run.log(loss=1.0)

    assert main(["explain", "long"]) == 0
    lines = capsys.readouterr().out.splitlines()[-6:]
    assert lines == [
        *(f"checkpoint: long/m-{epoch}.npz" for epoch in (1, 2, 3, 4)),
        "(25 more)",
        "checkpoint: long/m-30.npz",
    ]
    assert str(run.result).splitlines()[1:7] == lines
