"""What a resumed run takes from the record of its end: the epochs after the checkpoint, and the stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.decision import Stop
from trainbus.distributed.group import Solo
from trainbus.engine.finished_run import FinishedRun
from trainbus.resume.end_record import EndRecord, EndRecords
from trainbus.resume.serialization import compress_log
from trainbus.testing import LineSubject

from .parts import Parts, parts_for

STOP = Stop(reason="enough", by="EarlyStopping")


def record(epochs: int, **fields: Any) -> EndRecord:
    """Write the record of a run of this many epochs into the directory "run"."""
    history = compress_log([[epoch, {"loss": float(epoch)}] for epoch in range(epochs)])
    known = EndRecord(run="first", epochs=epochs, step=4 * epochs, reason="enough", history=history, **fields)
    ends = EndRecords()
    Path("run").mkdir()
    ends.directories = (Path("run"),)
    ends.write(known, [])
    return known


def found(run: str | None, epochs: int = 0) -> tuple[Parts, FinishedRun, list[int]]:
    """Return a run that continues after these epochs, with the record that it has found, and the epochs caught up."""
    parts, seen = parts_for(LineSubject()), list[int]()
    for epoch in range(epochs):
        parts.state.start_epoch(epoch)
        parts.state.step += 4
        parts.state.finish_epoch({"loss": float(epoch)})

    def catch_up(metrics: Any, epoch: int) -> None:
        seen.append(epoch)
        if metrics["loss"] == 2.0:
            raise SettingsError("a monitor of another metric")

    finished = FinishedRun(EndRecords(), lambda _: [STOP], catch_up, Solo().bind)
    finished.find("run", run, parts.state)
    return parts, finished, seen


@pytest.mark.parametrize("epochs", [0, 1, 3, 4])
def test_the_epochs_after_the_checkpoint_are_restored(epochs: int) -> None:
    """Monitors see each of them, also those after one that a monitor refuses."""
    record(4)
    parts, finished, seen = found("first" if epochs else None, epochs)
    finished.restore(parts.state)

    assert (parts.state.run_id, parts.state.stop_actions) == ("first", [STOP])
    assert seen == list(range(epochs, 4))
    assert (parts.state.epochs_finished, parts.state.step) == (4, 16)
    assert [metrics["loss"] for _, metrics in parts.state.epoch_metrics] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(("run", "epochs"), [("second", 1), ("first", 5)], ids=["another run", "an older end"])
def test_a_record_of_another_run_or_of_an_earlier_step_says_nothing(run: str, epochs: int) -> None:
    record(4)
    parts, finished, seen = found(run, epochs)
    finished.restore(parts.state)

    assert finished.record is None
    assert (parts.state.epochs_finished, parts.state.stop_actions, seen) == (epochs, [], [])


def test_the_stops_that_the_checkpoint_knows_are_not_added_again() -> None:
    record(2)
    parts, finished, _ = found("first", 2)
    finished.find("run", "first", parts.state)

    assert parts.state.stop_actions == [STOP]
