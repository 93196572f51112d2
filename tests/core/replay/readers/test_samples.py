"""Logs as libraries and well-known scripts write them: each is read with its metrics, its axis and all of its rows."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from trainbus.plugins import EarlyStopping
from trainbus.replay import Recording, read, read_all, replay
from trainbus.replay.axis import Unit
from trainbus.replay.report.report import Report
from trainbus.replay.report.text import replay_text

from ..recorded import shown

DATA = Path(__file__).parent / "data"


class Expected(NamedTuple):
    """What a log says."""

    format: str
    unit: Unit
    rows: list[int]
    """The epochs from 0; if it counts something else, the steps."""
    metric: str
    values: list[float]
    others: set[str]
    """Further metrics."""


EVERY_20 = [*range(19, 400, 20)]
LOGS = {
    "detectron2": Expected("JSON lines", "iteration", EVERY_20, "bbox/AP", [21.52, 24.09], {"total_loss", "loss_cls"}),
    "detr": Expected("JSON lines", "epoch", [0, 1, 2, 3, 4], "test_coco_eval_bbox/AP", [0.11, 0.19, 0.24, 0.27, 0.26],
                     {"loss", "test_loss", "test_coco_eval_bbox/AP50", "learning_rate"}),
    "mmdetection2": Expected("JSON lines", "epoch", [0, 1, 2], "val_bbox_mAP", [0.101, 0.187, 0.204], {"loss", "acc"}),
    "mmengine_epochs": Expected("JSON lines", "epoch", [0, 1, 2, 3], "toy/mAP",
                                [0.80247, 0.82163, 0.83405, 0.84521],
                                {"loss"}),
    "mmengine_iterations": Expected("JSON lines", "step", [*range(2, 25, 2)], "toy/mAP",
                                    [0.80247, 0.82163, 0.83405, 0.84521],
                                    {"loss"}),
    "lightning": Expected("Lightning CSV", "evaluation", [3, 7, 11, 15, 19, 23], "val_loss",
                          [0.02394, 0.02349, 0.01947, 0.01739, 0.01498, 0.01333], {"loss"}),
    "transformers": Expected("Hugging Face trainer state", "evaluation", [0, 2, 4, 6, 8], "val_loss",
                             [3.58536, 3.40917, 3.28406, 3.20543, 3.17205], {"loss", "learning_rate"}),
    "nanogpt": Expected("text", "step", [0, 250, 500, 750, 1000], "val_loss",
                        [4.2823, 2.0651, 1.7248, 1.4697, 1.4933], {"loss"}),
    "llm_c": Expected("text", "step", [0, 100, 200, 250, 300, 400, 500], "val_loss", [11.0095, 6.4721, 5.0034],
                      {"loss", "val_acc", "learning_rate"}),
    "build_nanogpt": Expected("text", "step", [0, 1, 2, 250, 500], "val_loss", [10.9514, 6.0522, 4.9],
                              {"loss", "val_acc"}),
    "loop": Expected("text", "epoch", [0, 1, 2, 3, 4, 5], "val_loss", [3.3, 1.8, 1.3667, 1.2, 1.14, 1.1333],
                     {"loss", "acc", "val_acc", "learning_rate"}),
    "keras_output": Expected("text", "epoch", [0, 1, 2], "val_loss", [2.5, 1.25, 0.8333],
                             {"loss", "accuracy", "val_accuracy", "learning_rate"}),
}  # fmt: skip


def rows_of(found: Recording) -> list[int]:
    """Return the epochs, or what the run counted instead."""
    assert found.unit == "epoch" or found.epochs.tolist() == list(range(len(found.epochs)))
    return found.epochs.tolist() if found.steps is None else found.steps.tolist()


@pytest.mark.parametrize("name", LOGS)
def test_a_log_is_read_as_what_it_is(name: str) -> None:
    """By its directory, in which several files may tell the same run."""
    found, expected = read(DATA / name), LOGS[name]

    assert (found.format, found.unit, rows_of(found)) == expected[:3]
    assert shown(found)[expected.metric] == pytest.approx(expected.values, abs=1e-4)
    assert expected.others <= set(found.metrics)


@pytest.mark.parametrize("name", LOGS)
def test_a_log_is_recognized_by_its_content(name: str, tmp_path: Path) -> None:
    """Not by the name of its file."""
    file = min((each for each in (DATA / name).rglob("*") if each.is_file() and "tfevents" not in each.name), key=str)
    shutil.copy(file, tmp_path / "renamed")
    found = read(tmp_path)

    assert (found.unit, rows_of(found)) == LOGS[name][1:3]


def test_several_runs_in_one_folder_are_several() -> None:
    """Each by its directory; a note names each file that tells the run of another one."""
    found = read_all(DATA)

    assert [each.name.split("/")[0] for each in found] == sorted(LOGS)
    left_out = [note for each in found for note in each.notes if "records the same run" in note]
    assert len(left_out) == 3


def test_reports_name_moments_by_what_the_run_counted() -> None:
    """Patience counts records."""
    recorded = read(DATA / "nanogpt")
    result = replay([recorded], EarlyStopping(monitor="val_loss", patience=1))

    assert result.outcomes[0].as_data()["best_seen"] == {"value": 1.4697, "record": 3, "step": 750}
    text = replay_text(Report([recorded], result, None))
    assert "step 1,000" in text
    assert "Records come every 250 steps: patience counts records that have the metric." in text
    evaluated = read(DATA / "transformers")
    text = replay_text(Report([evaluated], replay([evaluated], EarlyStopping(monitor="val_loss", patience=1)), None))
    assert "@ evaluation 5" in text
