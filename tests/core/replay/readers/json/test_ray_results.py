"""The reader of results, on those that Ray Tune wrote."""

import json
import math
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...samples import CURVE, FORMATS, best, logged, steps


def test_results_are_read_over_iterations_with_their_settings():
    """``result.json`` and ``progress.csv`` of a trial are one run; NaN is a value."""
    (found,) = read_all(FORMATS / "ray")

    assert (found.name, found.format, found.unit) == ("ray", "Ray results", "iteration")
    assert steps(found) == list(range(1, 11))
    assert logged(found, "val_loss") == CURVE
    assert math.isnan(logged(found, "nested/reward_mean")[0])
    assert best(found, "val_loss") == 4
    assert found.settings == {"lr": 0.1, "model/depth": 3}
    assert set(found.metrics) == {"val_loss", "nested/reward_mean"}
    assert found.duration is not None


def test_a_killed_trial_is_read_up_to_its_last_result(tmp_path: Path):
    lines = [json.dumps({"training_iteration": at, "time_total_s": at, "loss": 1 / at}) for at in (1, 2, 3)]
    (tmp_path / "result.json").write_text("\n".join(lines))
    found = read(tmp_path)

    assert logged(found, "loss") == [1.0, 0.5]
    assert any("has no line end" in note for note in found.notes)


def test_a_damaged_line_is_refused(tmp_path: Path):
    path = tmp_path / "result.json"
    path.write_text('{"training_iteration": 1, "trial_id": "a", "loss": 1}\n{"training\n')
    with pytest.raises(SettingsError, match="line 2 is not a JSON object"):
        read(path)
