"""The reader of trials, on one that KerasTuner wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.replay import Recording, read
from trainbus.replay.objective import Objective

from ...samples import FORMATS, MEASURED, best, logged


def test_a_trial_has_its_observations_its_objective_and_its_settings():
    found, measured = read(FORMATS / "keras_tuner"), MEASURED["keras_tuner"]

    assert (found.unit, found.epochs.tolist()) == ("epoch", [0, 1, 2])
    assert logged(found, "val_auc_score") == measured["val_auc_score"]
    assert found.objective == Objective("val_auc_score", "max")
    assert best(found, "val_auc_score", "max") == 1
    assert found.settings == measured["values"]


def _trial(place: Path, score: float | None = None, **metrics: tuple[str | None, list[Any]]) -> Recording:
    named = {
        name: {
            "direction": direction,
            "observations": [{"value": value, "step": at} for at, value in enumerate(values)],
        }
        for name, (direction, values) in metrics.items()
    }
    content = {"trial_id": "1", "metrics": {"metrics": named}, "score": score, "status": "RUNNING"}
    (place / "trial.json").write_text(json.dumps(content))
    return read(place)


def test_values_of_several_executions_are_averaged(tmp_path: Path):
    found = _trial(tmp_path, None, score_of_mine=("max", [[1.0, 3.0], [2.0, 4.0]]))

    assert logged(found, "score_of_mine") == [2.0, 3.0]
    assert found.objective == Objective("score_of_mine", "max")
    assert "Values are means over 2 executions of the trial." in found.notes


def test_an_objective_that_the_score_does_not_show_is_not_guessed(tmp_path: Path):
    """While a trial runs it has no score; then several metrics may be the objective."""
    assert _trial(tmp_path, None, a=("max", [[1.0]]), b=("min", [[1.0]])).objective is None
    assert _trial(tmp_path, 1.0, a=("max", [[1.0]]), b=("min", [[1.0]])).objective is None
    assert _trial(tmp_path, 1.0, a=("max", [[1.0]]), b=("min", [[2.0]])).objective == Objective("a", "max")
    assert _trial(tmp_path, 1.0, a=(None, [[1.0]])).objective is None


def test_a_trial_without_metrics_says_its_status(tmp_path: Path):
    with pytest.raises(SettingsError, match="the trial has no metrics; its status is 'RUNNING'"):
        _trial(tmp_path)
