"""The reader of pandas's tables in JSON."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trainbus import SettingsError
from trainbus.replay import read

from ...recorded import shown


def test_columns_by_row_have_the_epochs_of_their_index(tmp_path: Path) -> None:
    """As ``DataFrame.to_json`` writes a history by default."""
    pd.DataFrame({"loss": [2.0, 1.0]}, index=[3, 4]).to_json(tmp_path / "history.json")
    found = read(tmp_path)
    assert (found.format, found.epochs.tolist(), shown(found)) == ("pandas JSON", [3, 4], {"loss": [2.0, 1.0]})


def test_a_column_of_epochs_counts_more_than_the_index(tmp_path: Path) -> None:
    """It is the axis."""
    pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0]}).to_json(tmp_path / "history.json", orient="split")
    assert read(tmp_path).notes == ("Epochs are counted from 1 in the file.",)


@pytest.mark.parametrize(
    "content",
    [{"loss": {"a": 1}}, {"loss": {"0": 1}, "acc": {"1": 1}}, {"loss": {}}, {"loss": 1}, {},
     {"columns": ["loss"], "index": [0], "data": [[1, 2]]}, {"columns": ["loss"], "index": [0, 1], "data": [[1]]},
     {"columns": 1, "index": [0], "data": [[1]]}],
)  # fmt: skip
def test_other_objects_are_no_tables(content: Any, tmp_path: Path) -> None:
    """Rows and columns must fit each other."""
    (tmp_path / "data.json").write_text(json.dumps(content))
    with pytest.raises(SettingsError):
        read(tmp_path)
