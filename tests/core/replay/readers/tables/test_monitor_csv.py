"""The reader of monitor files, on one that stable-baselines3 wrote."""

from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...samples import FORMATS, MEASURED, logged, steps


def test_each_episode_is_a_row_at_its_timestep():
    found, measured = read(FORMATS / "stable_baselines3" / "train"), MEASURED["stable_baselines3"]
    rewards = measured["episode_rewards"]

    assert (found.format, found.unit) == ("monitor CSV", "timestep")
    assert steps(found) == list(accumulate(measured["episode_lengths"]))
    assert logged(found, "episode_reward") == rewards
    assert set(found.metrics) == {"episode_reward", "episode_length"}  # there are too few for the means of a hundred
    assert found.duration is not None
    assert found.duration > 0


def test_the_mean_is_that_of_the_last_hundred_episodes(tmp_path: Path):
    rows = "".join(f"{reward},2,{reward}\n" for reward in range(250))
    (tmp_path / "monitor.csv").write_text(f"#{{}}\nr,l,t\n{rows}")

    found = read(tmp_path)

    assert logged(found, "rollout/ep_rew_mean") == [np.mean(range(start, start + 100)) for start in range(151)]
    assert found.metrics["rollout/ep_len_mean"].logged.tolist() == [False] * 99 + [True] * 151


def test_the_files_of_several_environments_are_one_run(tmp_path: Path):
    """Episodes are in the order of their ends, on one clock."""
    (tmp_path / "0.monitor.csv").write_text('#{"t_start": 100.0, "env_id": "a"}\nr,l,t\n1,10,1\n3,10,3\n')
    (tmp_path / "1.monitor.csv").write_text('#{"t_start": 101.0, "env_id": "a"}\nr,l,t,extra\n2,5,1,7\n')
    (found,) = read_all(tmp_path)

    assert logged(found, "episode_reward") == [1, 2, 3]
    assert steps(found) == [10, 15, 25]
    assert found.name == tmp_path.name


def test_damaged_files_are_refused(tmp_path: Path):
    path = tmp_path / "monitor.csv"
    for content, words in (
        ("#{}\nr,l,t\n1,2\n", "line 3 does not have the reward, length and time of an episode: '1,2'"),
        ("#{,}\nr,l,t\n1,2,3\n", "the first line is not '#' and a JSON object"),
        ("#{}\nr,l,t\n", "has no complete episode"),
    ):
        path.write_text(content)
        with pytest.raises(SettingsError, match=words):
            read(path)
