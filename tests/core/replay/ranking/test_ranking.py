"""The ranking of logged metrics."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from trainbus.replay import Recording, read
from trainbus.replay.ranking.ranking import rank

from ..recorded import recording
from .metric_sets import SETS, MetricSet

_EPOCHS = 12


def recorded(example: MetricSet) -> Recording:
    """Return a run that logs these metrics, each with values of its own."""
    random = np.random.default_rng(0)
    histories = dict[str, list[float | None]]()
    for written in example.logged.split():
        name, values = written.lstrip("~0").replace("|", " "), random.random(_EPOCHS).tolist()
        if written.startswith("0"):
            values = [0.0] * _EPOCHS
        elif written.startswith("~"):
            values = [value if epoch % 3 == 2 else None for epoch, value in enumerate(values)]
        histories[name] = values
    return recording(histories)


@pytest.mark.parametrize("example", SETS, ids=str)
def test_the_first_metric_is_the_one_that_users_of_the_project_look_at(example: MetricSet) -> None:
    """For real sets of metrics, the first one and its direction are right."""
    first = next(rank([recorded(example)]))

    assert (first.name, first.mode) == (example.expected, example.mode), first.why


def test_what_never_changes_is_never_first() -> None:
    """A metric of zeros, or one that never changes, is left out, also if it is the validation loss."""
    run = recording({"loss": [3.0, 2.0, 1.0], "val_loss": [0.0] * 3, "val_wer": [100.0] * 3})

    assert [each.name for each in rank([run])] == ["loss"]
    assert [each.name for each in rank([run], constant=True)] == ["val_loss", "val_wer"]
    assert next(rank([recording({"val_loss": [1.0, math.nan]})])).name == "val_loss"


@pytest.mark.parametrize(
    ("header", "expected"),
    [("train_loss,MOTA", "MOTA"), ("train_loss,train_accuracy", "loss"), ("loss,accuracy", "loss"),
     ("loss/train,f1", "f1"), ("train_loss,score,val_loss", "val_loss"), ("train_loss,train_map,map", "map")],
)  # fmt: skip
def test_the_data_that_a_file_names_count_although_standard_names_do_not(
    header: str, expected: str, tmp_path: Path
) -> None:
    """The standard name of "train_loss" is "loss"."""
    random = np.random.default_rng(0)
    rows = [f"{epoch},{','.join(map(str, random.random(header.count(',') + 1)))}" for epoch in range(_EPOCHS)]
    file = tmp_path / "log.csv"
    file.write_text("\n".join([f"epoch,{header}", *rows]))
    assert next(rank([read(file)])).name == expected


@pytest.mark.parametrize(
    ("histories", "why"),
    [({"loss": [3.0, 2.0]}, "since nothing on held-out data is logged"),
     ({"loss": [3.0, 2.0], "val_loss": [0.0, 0.0]}, "since val_loss never changes"),
     ({"loss": [3.0, 2.0], "val_loss": [math.nan] * 2}, "since val_loss has no finite value"),
     ({"loss": [3.0, 2.0], "val_foo": [1.0, 2.0]}, "since val_foo does not tell by its name whether lower is better"),
     ({"loss": [3.0, 2.0], "val_loss": [0.0, 0.0], "val_acc": [1.0, 1.0], "test_acc": [math.nan] * 2},
      "since val_loss, like 1 more, never changes and test_acc has no finite value")],
)  # fmt: skip
def test_the_reason_tells_what_held_out_metrics_lack(histories: dict[str, list[float | None]], why: str) -> None:
    """They are logged."""
    assert next(rank([recording(histories)])).why.endswith(why)
