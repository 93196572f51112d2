"""What a run has done is in a history of each directory in which it saves, and comes back from there."""

from pathlib import Path
from typing import Any

import pytest

from trainbus import CheckpointError, decision
from trainbus.checkpoints import Checkpoint
from trainbus.checkpoints.history.history_log import HistoryLog
from trainbus.checkpoints.history.history_reader import HistoryReference
from trainbus.checkpoints.manifest import ManifestEntry
from trainbus.engine.execution_result import ExecutionResult
from trainbus.engine.run_state import RunState
from trainbus.limits import EPOCHS
from trainbus.resume.run_history import Followed, Past, RunHistory, checked_epoch, read_past
from trainbus.storage.paths import StartDirectory


def trained(state: RunState, *epochs: int) -> None:
    for epoch in epochs:
        state.start_epoch(epoch)
        state.finish_epoch({"loss": float(epoch)})
        state.record(ExecutionResult(decision.save(f"run/m-{epoch}.npz")), lambda _: True)


def past_of(path: Path, reference: HistoryReference) -> Past:
    entry = ManifestEntry(digest="", size=0, epoch=0, step=0)
    return read_past(Checkpoint(path=path, entry=entry), reference, StartDirectory())


def stored(log: HistoryLog, path: Path) -> HistoryReference:
    log.write()
    return log.reference(path.parent)


@pytest.fixture
def first() -> tuple[RunState, RunHistory, Path, HistoryReference]:
    """A run of two epochs, its history, and what its checkpoint names of that."""
    state = RunState()
    history, path = RunHistory(state), Path("run/m.npz").absolute()
    history.directories = (path.parent,)
    trained(state, 0, 1)
    return state, history, path, stored(history.log_for(path), path)


def test_a_past_has_the_epochs_the_decisions_and_the_files(first: Any) -> None:
    state, _, path, reference = first
    past = past_of(path, reference)

    assert past.epochs == state.epoch_metrics
    assert past.decisions == state.decision_log
    assert past.files == list(state.files)


def resumed(first: Any, *epochs: int) -> tuple[RunState, RunHistory]:
    """Return a run that has resumed from the first one's checkpoint, and has trained since."""
    _, old, path, reference = first
    state, past = RunState(), past_of(path, reference)
    state.epoch_metrics, state.decision_log = past.epochs, past.decisions
    state.files.replace(past.files)
    counts = len(past.epochs), len(past.decisions), len(state.files.log)
    state.followed = Followed(path.parent / reference.file, reference, counts)
    trained(state, *epochs)
    history = RunHistory(state)
    history.directories = old.directories
    return state, history


@pytest.mark.parametrize("done", [(), (2,), (2, 3)])
@pytest.mark.parametrize("place", ["run/m-2.npz", "run/2/m.npz", "elsewhere/m.npz"])
@pytest.mark.parametrize("died_at", [(), (2,), (2, 3)])
def test_the_rest_of_a_decision_names_the_past_of_its_checkpoint(
    first: Any, done: tuple[int, ...], place: str, died_at: tuple[int, ...]
) -> None:
    """Whatever this run, or one that died, has done since; a later file names everything."""
    old_state, old, path, reference = first
    trained(old_state, *died_at)
    stored(old.log_for(path), path)
    state, history = resumed(first, *done)
    target = Path(place).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)

    held = stored(history.log_for(target, restored=True), target)
    later = stored(history.log_for(target), target)

    assert past_of(target, held) == past_of(path, reference)
    assert past_of(target, later).epochs == state.epoch_metrics
    assert past_of(target, later).decisions == state.decision_log
    assert past_of(path, reference).epochs == [(0, {"loss": 0.0}), (1, {"loss": 1.0})]


def test_without_its_file_a_resumed_run_begins_another(first: Any) -> None:
    _, _, path, reference = first
    state, history = resumed(first, 2)
    (path.parent / reference.file).unlink()

    assert past_of(path, stored(history.log_for(path), path)).epochs == state.epoch_metrics


@pytest.mark.parametrize("epoch", [-1, EPOCHS + 1, 10**30, 1.0, True, "1", None, [1]])
def test_what_is_no_number_of_an_epoch_is_refused(epoch: Any) -> None:
    with pytest.raises(ValueError, match="an epoch is"):
        checked_epoch(epoch)
    with pytest.raises(CheckpointError, match="cannot be read"):
        past_of(Path("m.npz"), HistoryReference(records=[["epoch", epoch, {}]]))
