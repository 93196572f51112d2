"""The reader of offline runs of Weights & Biases, on one that the library wrote."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.replay import Recording, read
from trainbus.replay.objective import Objective

from ...samples import CURVE, FORMATS, best, logged, steps
from .test_wandb_records import written


def test_an_offline_run_is_read_over_its_epochs():
    found = read(FORMATS / "wandb")

    assert (found.name, found.unit, found.epochs.tolist()) == ("first", "epoch", list(range(10)))
    assert logged(found, "val_loss") == CURVE
    assert math.isnan(logged(found, "loss")[1])
    assert best(found, "val_loss") == 3
    assert found.settings == {"lr": 0.1, "model/depth": 3}
    assert found.duration is not None
    assert found.duration > 0


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return bytes([number << 3, content])
    key = bytes([number << 3 | 2]) if number < 16 else bytes([(number & 15) << 3 | 0x82, number >> 4])
    return key + bytes([len(content) & 127 | 128, len(content) >> 7]) + content


def _items(values: dict[str, Any]) -> bytes:
    return b"".join(
        _field(1, _field(2, key.encode()) + _field(16, json.dumps(value).encode())) for key, value in values.items()
    )


def _read(place: Path, *records: bytes) -> Recording:
    (place / "run-a.wandb").write_bytes(written(list(records)))
    return read(place)


def _rows(*rows: dict[str, Any]) -> list[bytes]:
    return [_field(2, _items({"_step": step, **row})) for step, row in enumerate(rows)]


def test_a_run_without_epochs_counts_steps(tmp_path: Path):
    """Pictures, texts and histograms are not metrics; numbers that JSON lacks are texts in the log."""
    picture = {"_type": "image-file", "width": 3}
    rows = _rows({"loss": 2, "mood": "1.5"}, {"loss": "NaN", "sample": picture}, {"loss": "Infinity", "a": {"b": 1}})
    found = _read(tmp_path, *rows)

    assert (found.unit, steps(found)) == ("step", [0, 1, 2])
    assert set(found.metrics) == {"loss", "a/b"}
    assert [repr(value) for value in logged(found, "loss")] == ["2.0", "nan", "inf"]


def test_the_goal_that_the_script_defined_is_the_objective(tmp_path: Path):
    """``define_metric(name, goal="maximize")`` names the metric by which to judge; later settings replace earlier."""
    run = _field(17, _field(8, b"sunny-sky-1") + _field(4, _items({"lr": 1})))
    change = _field(5, _items({"lr": 0.1, "_wandb": {"version": 1}}))
    metric = _field(12, _field(1, b"val/score") + _field(8, 2))
    found = _read(tmp_path, run, change, metric, *_rows({"val/score": 1}, {"val/score": 2}))

    assert found.name == "sunny-sky-1"
    assert found.objective == Objective("val_score", "max")
    assert found.settings == {"lr": 0.1}


def test_records_of_another_form_are_refused(tmp_path: Path):
    """The checksums may be right where the content is not."""
    with pytest.raises(SettingsError, match="is damaged"):
        _read(tmp_path, b"\x12\x7f\x01")
    with pytest.raises(SettingsError, match="is damaged"):
        _read(tmp_path, _field(2, _field(1, _field(1, b"loss") + _field(16, b"[[[["))))
