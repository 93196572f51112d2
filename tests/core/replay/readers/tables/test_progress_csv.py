"""The reader of progress tables, on those that stable-baselines3 and Ray wrote."""

import math
from pathlib import Path

import pytest

from trainbus.replay import read

from ...samples import CURVE, FORMATS, MEASURED, best, logged, steps


def test_rows_of_stable_baselines3_are_at_timesteps():
    """Most rows have no evaluation; the ones that have are those of ``evaluations.npz``."""
    found, measured = read(FORMATS / "stable_baselines3" / "logs"), MEASURED["stable_baselines3"]

    assert (found.format, found.unit) == ("progress CSV", "timestep")
    assert steps(found) == [64, 128, 160, 192, 256, 320, 384, 448, 480, 512, 576, 640]
    values, there = found.metrics["val_mean_reward"]
    assert found.steps is not None
    assert found.steps[there].tolist() == measured["timesteps"]
    assert values[there].tolist() == measured["mean_reward"]
    assert best(found, "val_mean_reward", "max") == 160
    assert found.metrics["rollout/ep_rew_mean"].logged.sum() == 10


def test_rows_of_ray_are_at_iterations():
    found = read(FORMATS / "ray" / "progress.csv")

    assert (found.unit, steps(found)) == ("iteration", list(range(1, 11)))
    assert logged(found, "val_loss") == CURVE
    assert math.isnan(logged(found, "nested/reward_mean")[0])


@pytest.mark.parametrize("label", ["total_timesteps", "misc/total_timesteps", "TimestepsSoFar"])
def test_rows_of_baselines_are_at_timesteps(tmp_path: Path, label: str):
    """Lines that a killed run left incomplete are left out with a note."""
    (tmp_path / "progress.csv").write_text(f"eprewmean,{label},name\n1.5,2048,a\n,4096,b\n2.5\n2.5,6144,c\n")
    found = read(tmp_path)

    assert (found.unit, steps(found)) == ("timestep", [2048, 6144])
    assert logged(found, "eprewmean") == [1.5, 2.5]
    assert "1 lines do not have the 3 cells of the first line and are left out." in found.notes
