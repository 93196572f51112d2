"""The event files of one directory, by run."""

from pathlib import Path

from trainbus.replay import read_all
from trainbus.replay.readers.tensorboard.directory_runs import read_runs

from ...recorded import shown
from ...streams import curve, write


def test_a_curve_that_begins_again_is_of_another_run(tmp_path: Path) -> None:
    """Several runs in one log folder differ by file, and their names by a number."""
    for number in (1, 2, 3):
        write(tmp_path / f"logs/events.out.tfevents.{number}", curve("loss", range(4), number / 8))
    found = read_all(tmp_path)

    assert [each.name for each in found] == ["logs#1", "logs#2", "logs#3"]
    assert [shown(each)["loss"][0] for each in found] == [0.125, 0.25, 0.375]


def test_a_run_may_write_train_and_validation_several_times(tmp_path: Path) -> None:
    """The files of each directory belong together in the order of time."""
    for stage in ("train", "validation"):
        for number in (1, 2):
            write(tmp_path / f"{stage}/events.out.tfevents.{number}", curve("epoch_loss", range(3), number / 8))
    found = read_all(tmp_path)

    assert [sorted(each.metrics) for each in found] == [["loss", "val_loss"]] * 2


def test_a_resumed_run_is_one(tmp_path: Path) -> None:
    """It goes on after its first step, or a file has other tags, or a tag with one number, such as a score."""
    paths = [tmp_path / f"events.out.tfevents.{number}" for number in range(4)]
    write(paths[0], curve("loss", range(4)))
    write(paths[1], curve("loss", range(2, 6)))
    write(paths[2], curve("val_loss", range(6)))
    write(paths[3], curve("loss", [0]))

    assert len(read_runs(paths[:3])) == 1
    assert len(read_runs([paths[0], paths[3]])) == 1
