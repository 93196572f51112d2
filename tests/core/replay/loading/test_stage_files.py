"""The files of the stages of one run are one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from trainbus.replay import Recording, read_all
from trainbus.replay.metric_choice import choose_metric


def write(file: Path, label: str, places: Sequence[int], metrics: str = "loss") -> None:
    """Write a table with values of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = range(1, 2 + metrics.count(","))
    rows = [f"{place},{','.join(str(1 / (place + column + len(file.name))) for column in columns)}" for place in places]
    file.write_text("\n".join([f"{label},{metrics}", *rows, ""]))


def names(found: Sequence[Recording]) -> list[list[str]]:
    """Return the metrics of each run."""
    return [[*each.metrics] for each in found]


@pytest.mark.parametrize(
    ("training", "evaluation", "expected"),
    [("train.csv", "val.csv", "val_loss"), ("train.csv", "eval.csv", "val_loss"),
     ("train.csv", "test.csv", "test_loss"), ("log_train.csv", "log_valid.csv", "val_loss"),
     ("training-metrics.csv", "validation-metrics.csv", "val_loss"),
     ("a/train/log.csv", "a/val/log.csv", "val_loss")],
)  # fmt: skip
@pytest.mark.parametrize("label", ["epoch", "step"])
def test_evaluations_in_a_file_of_their_own_belong_to_the_run(
    training: str, evaluation: str, expected: str, label: str, tmp_path: Path
) -> None:
    """They may be rarer than the records of the training; the run is judged by them."""
    write(tmp_path / training, label, range(20))
    write(tmp_path / evaluation, label, range(0, 20, 4), "loss,accuracy")
    (found,) = read_all(tmp_path)
    assert [*found.metrics] == ["loss", expected, expected.replace("loss", "accuracy")]
    assert found.metrics[expected].logged.tolist() == [not place % 4 for place in range(20)]
    assert choose_metric([found]).monitor == expected
    assert any(Path(evaluation).name in note for note in found.notes)


@pytest.mark.parametrize(
    ("training", "evaluation"),
    [("a/train.csv", "b/val.csv"), ("train_a.csv", "val_b.csv"), ("train.csv", "values.csv"), ("a.csv", "val.csv")],
)
def test_files_that_differ_in_more_are_runs_of_their_own(training: str, evaluation: str, tmp_path: Path) -> None:
    """Also those whose names have such a word for another reason."""
    write(tmp_path / training, "epoch", range(9))
    write(tmp_path / evaluation, "epoch", range(9))
    assert names(read_all(tmp_path)) == [["loss"], ["loss"]]


def test_files_that_count_different_things_are_not_joined(tmp_path: Path) -> None:
    """Nor is one whose metrics the other one has already."""
    write(tmp_path / "a/train.csv", "epoch", range(9))
    write(tmp_path / "a/val.csv", "step", range(9))
    write(tmp_path / "b/train.csv", "epoch", range(9), "loss,val_loss")
    write(tmp_path / "b/val.csv", "epoch", range(9))
    assert len(read_all(tmp_path / "a")) == len(read_all(tmp_path / "b")) == 2


def test_of_several_runs_each_has_its_own_evaluations(tmp_path: Path) -> None:
    """And a run may have two of them."""
    for run in "ab":
        for stage in ("train", "val", "test"):
            write(tmp_path / run / f"{stage}.csv", "epoch", range(9))
    assert names(read_all(tmp_path)) == [["loss", "val_loss", "test_loss"]] * 2
