"""Groups of runs: of one folder, of one seed, or with the same value of a setting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay import Recording
from trainbus.replay.comparison.run_groups import group_runs, same_seed


def run(name: str, **settings: object) -> Recording:
    return Recording(
        name, np.arange(1), {}, settings={key.replace("__", "/"): value for key, value in settings.items()}
    )


@given(st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=8))
def test_runs_are_of_one_group_if_and_only_if_their_setting_is_equal(values: list[int | None]) -> None:
    """A run without the setting is alone."""
    runs = [run(f"run-{n}", **({} if value is None else {"model__seed": value})) for n, value in enumerate(values)]
    if all(value is None for value in values):
        with pytest.raises(SettingsError, match="seed"):
            group_runs(runs, "seed")
        assert same_seed(runs) is None
        return
    names = group_runs(runs, "seed").names
    for one, first in enumerate(values):
        for other, second in enumerate(values):
            same = one == other or (first is not None and first == second)
            assert (names[one] == names[other]) == same
    shared = same_seed(runs)
    assert (shared is not None) == (1 < len(set(names)) < len(runs))


def test_a_folder_is_the_part_before_the_last_name() -> None:
    """Runs directly below the path are in one group."""
    runs = [run(name) for name in ("a/1", "a/2", "b/c/1", "alone", "other")]
    assert group_runs(runs, "folder").names == ("a", "a", "b/c", ".", ".")


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("lrr", "no run has this setting; did you mean 'lr'. settings: lr, model/depth, data/depth; or give 'folder'"),
        ("depth", "is the end of several settings: model/depth, data/depth; give one of them"),
    ],
)
def test_a_setting_that_is_unknown_or_not_unique_is_refused(by: str, words: str) -> None:
    """With the settings that there are."""
    with pytest.raises(SettingsError, match=f"--runs={by!r}.*{words}"):
        group_runs([run("a", lr=1, model__depth=1, data__depth=2)], by, "--runs")
    with pytest.raises(SettingsError, match="no file tells their settings"):
        group_runs([run("a")], by)
