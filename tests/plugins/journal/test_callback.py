"""The location of a journal."""

from pathlib import Path
from typing import Any

import pytest

from trainbus import CheckpointError, Run, SettingsError
from trainbus.journal import (
    read,
)
from trainbus.plugins import Journal, ModelCheckpoint, TensorBoard
from trainbus.testing import LineSubject

from .runs import CUT, JOURNAL, SAVED, STOP, train


@pytest.mark.parametrize(
    ("listed", "place"),
    [
        ([SAVED], "run"),
        ([TensorBoard("logs"), SAVED], "run"),
        ([TensorBoard("logs"), STOP], "logs"),
        ([ModelCheckpoint("best"), TensorBoard("logs")], "."),
        ([TensorBoard("logs"), Journal()], "logs"),
        ([STOP, Journal()], "."),
        ([SAVED, Journal("elsewhere/j.jsonl")], None),
        ([SAVED, Journal(enabled=False)], None),
        ([STOP, CUT], None),
    ],
)
def test_the_journal_is_in_the_directory_of_the_runs_files(listed: list[Any], place: str | None) -> None:
    """The journal is next to the first checkpoint, else in the first log_dir, unless a Journal is listed."""
    run = train([1.0, 2.0], *listed)

    found = [path.parent.as_posix() for path in Path().rglob("journal.jsonl")]
    assert found == ([] if place is None else [place])
    assert Path("elsewhere/j.jsonl").exists() == any(
        getattr(each, "path", "") == "elsewhere/j.jsonl" for each in listed
    )
    assert run.failures == []


def test_two_runs_at_a_time_do_not_share_a_named_journal() -> None:
    """The second run is rejected before it trains, unless the first has ended."""
    with Run(callbacks=Journal("a.jsonl")):
        with pytest.raises(
            SettingsError, match=r"Journal: path='a\.jsonl': a run of this process .* saves its journal"
        ):
            Run(callbacks=Journal("a.jsonl")).begin()
        train([1.0], Journal("b.jsonl"))
    train([1.0], Journal("a.jsonl"))

    assert len(read(Path("a.jsonl"))) == 2


def test_two_journals_of_one_run_cannot_share_a_file() -> None:
    """Two journals with the same path, however it is written."""
    for listed in ([Journal(), Journal()], [Journal("a.jsonl"), Journal("./a.jsonl")]):
        with pytest.raises(SettingsError, match=r"two callbacks would write|listed twice"):
            Run(callbacks=listed)


def test_a_refused_run_writes_nothing_to_the_journal_of_the_other_run() -> None:
    """Only the owner of the directory writes to it."""
    with Run(LineSubject(), SAVED) as run:
        for _ in run.epochs(1):
            run.log(val_loss=1.0)
            with pytest.raises(CheckpointError, match="a run of this process"):
                train([1.0], SAVED)

    assert len(read(JOURNAL)) == 1


def test_checkpoints_in_a_store_have_no_journal_next_to_them() -> None:
    """Stores cannot append to a journal: it is in the log_dir, or there is none."""
    far = ModelCheckpoint("memory://far/m")
    train([1.0, 2.0], far)
    assert list(Path().rglob("*.jsonl")) == []

    train([1.0, 2.0], far, TensorBoard("logs"))
    assert [path.as_posix() for path in Path().rglob("*.jsonl")] == ["logs/journal.jsonl"]
