"""The reader of JSON lists with an object an epoch."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trainbus import SettingsError
from trainbus.replay import read

from ...recorded import shown

ROWS = [{"epoch": epoch, "loss": 3.0 - epoch, "val": {"loss": 4.0 - epoch}} for epoch in range(3)]
FORMS: dict[str, Any] = {
    "list": ROWS,
    "in an object": {"config": {"lr": 0.1}, "history": ROWS},
    "by number": {str(number): row for number, row in enumerate(ROWS)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_of_epochs_is_read(form: str, indent: int | None, tmp_path: Path) -> None:
    """Also in an object, or by the numbers of rows, in one line or many."""
    (tmp_path / "log.json").write_text(json.dumps(FORMS[form], indent=indent))
    found = read(tmp_path)
    assert found.epochs.tolist() == [0, 1, 2]
    assert shown(found) == {"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.0]}


@pytest.mark.parametrize("orient", ["records", "index", "columns", "split"])
def test_a_table_of_pandas_is_read_in_every_orientation(orient: Any, tmp_path: Path) -> None:
    """Missing values are null in its JSON."""
    table = pd.DataFrame({"loss": [2.0, 1.0, 0.5], "val_loss": [None, 3.0, 2.5]})
    table.to_json(tmp_path / "history.json", orient=orient)
    found = read(tmp_path)
    assert (found.unit, found.epochs.tolist()) == ("epoch", [0, 1, 2])
    assert shown(found) == {"loss": [2.0, 1.0, 0.5], "val_loss": [3.0, 2.5]}


@pytest.mark.parametrize("content", [[{"id": 1, "name": "x"}], [[1, 2]], [1], [], {"a": [{"size": 1}], "b": [{}]}])
def test_other_lists_are_no_logs(content: Any, tmp_path: Path) -> None:
    """They have no name of a metric."""
    (tmp_path / "data.json").write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="no recorded run"):
        read(tmp_path)
