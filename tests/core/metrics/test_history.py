"""A run's history as lists, arrays and frames."""

import subprocess
import sys
from math import isnan, nan
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingDependency, Run, SettingsError
from trainbus.metrics.history import History

from .forms import MASKED

metrics = st.dictionaries(st.sampled_from(["loss", "val_loss", "lr"]), st.floats() | st.integers(-3, 3), max_size=3)


@given(st.lists(metrics, max_size=5), st.integers(0, 9))
def test_lists_arrays_and_frames_hold_the_same(past: list[dict[str, Any]], first: int) -> None:
    """An element an epoch in each; what was not logged is None in a list and NaN elsewhere."""
    history = History(enumerate(past, start=first))
    arrays, pandas, polars = history.arrays(), history.frame("pandas"), history.frame("polars")

    assert isinstance(history, dict)
    assert set(history) == {name for each in past for name in each} == set(arrays) == set(pandas.columns)
    assert list(pandas.index) == polars["epoch"].to_list() == history.epochs == list(range(first, first + len(past)))
    for name, values in history.items():
        floats = [nan if value is None else float(value) for value in values]
        np.testing.assert_array_equal(arrays[name], floats)
        np.testing.assert_array_equal(pandas[name].to_numpy(), floats)
        np.testing.assert_array_equal(polars[name].to_numpy(), floats)
        assert [value is None for value in values] == [name not in each for each in past]


@pytest.mark.parametrize("value", MASKED, ids=repr)
def test_a_masked_value_is_nan_in_arrays(value: Any) -> None:
    """The number behind the mask is in no array and no frame."""
    history = History([(0, {"loss": 1.0}), (1, {"loss": value})])

    np.testing.assert_array_equal(history.arrays()["loss"], [1.0, nan])


def test_what_is_no_single_number_stays_in_the_lists_alone() -> None:
    """Arrays and frames are of numbers."""
    with Run() as run:
        for _ in run.epochs(2):
            run.log(loss=1.0, per_class=np.array([0.5, 0.25]))

    assert list(run.history) == ["loss", "per_class"]
    assert list(run.history.arrays()) == list(run.history.frame("pandas").columns) == ["loss"]
    assert run.history.frame("polars").equals(pl.DataFrame({"epoch": [0, 1], "loss": [1.0, 1.0]}))
    assert run.history.frame("pandas").equals(pd.DataFrame({"loss": [1.0, 1.0]}, index=pd.Index([0, 1], name="epoch")))
    assert not isnan(run.history.arrays()["loss"][0])


def test_another_library_is_refused_and_a_missing_one_says_how_to_install_it() -> None:
    """The name that was meant; the command."""
    with pytest.raises(SettingsError, match=r"frame\('polar'\): unknown library; did you mean 'polars'\?"):
        History().frame("polar")  # type: ignore[call-overload]

    script = """
import sys
sys.modules["pandas"] = None
from trainbus.metrics.history import History
try:
    History().frame("pandas")
except ImportError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{MissingDependency.__name__} pandas is not installed: pip install pandas\n"


def test_neither_library_is_imported_before_it_is_asked_for() -> None:
    """A run that only trains pays for none."""
    script = """
import sys, trainbus
with trainbus.Run() as run:
    for _ in run.epochs(1):
        run.log(loss=1.0)
assert run.history == {"loss": [1.0]}
print([name for name in ("pandas", "polars") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
