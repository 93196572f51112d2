"""The reader of ``evaluations.npz``, on one that stable-baselines3 wrote."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from trainbus import SettingsError
from trainbus.replay import read

from ...samples import FORMATS, MEASURED, best, logged, steps

FILE = FORMATS / "stable_baselines3" / "eval" / "evaluations.npz"


def test_values_are_means_over_the_episodes():
    found, measured = read(FILE), MEASURED["stable_baselines3"]

    assert found.unit == "timestep"
    assert steps(found) == measured["timesteps"]
    assert logged(found, "val_mean_reward") == measured["mean_reward"]
    assert best(found, "val_mean_reward", "max") == 160


def test_the_rate_of_success_is_read_too(tmp_path: Path):
    path = tmp_path / "evaluations.npz"
    np.savez(path, timesteps=[10, 20], results=[[1.0, 3.0], [2.0, 2.0]], successes=[[True, False], [True, True]])
    found = read(path)

    assert logged(found, "val_mean_reward") == [2.0, 2.0]
    assert logged(found, "val_success_rate") == [0.5, 1.0]


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("unpickled", "w"))


def test_nothing_is_unpickled(tmp_path: Path):
    """An array of objects would run code when it is read; it is refused before that."""
    path = tmp_path / "evaluations.npz"
    np.savez(path, timesteps=[1], results=np.array([[_Bomb()]], dtype=object))
    with pytest.raises(SettingsError, match="damaged"):
        read(path)
    assert not (tmp_path / "unpickled").exists()
    pickle.loads(pickle.dumps(_Bomb())).close()
    assert (tmp_path / "unpickled").exists()


def test_other_arrays_are_refused_with_their_shape(tmp_path: Path):
    path = tmp_path / "evaluations.npz"
    np.savez(path, timesteps=[1, 2], results=[[1.0], [2.0], [3.0]])
    with pytest.raises(SettingsError, match=r"'results' has the shape \(3, 1\) for 2 evaluations"):
        read(path)


def test_a_bomb_of_zeros_is_refused(tmp_path: Path):
    """A small archive that would unpack to gigabytes is not unpacked."""
    path = tmp_path / "evaluations.npz"
    np.savez_compressed(path, timesteps=[1], results=np.zeros((1, 10_000_000)))
    with pytest.raises(SettingsError, match="would unpack to"):
        read(path)
