"""The reader of CSV tables."""

import csv
import json
import tempfile
from math import inf, nan
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.limits import LARGEST
from trainbus.replay import read

from ...recorded import DATA, shown, table_of

NAMES = ["loss", "val_loss", "accuracy", "learning_rate"]
CELLS = st.floats(-LARGEST, LARGEST) | st.sampled_from([inf, -inf, nan]) | st.none()
ROWS = st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=8).filter(
    lambda rows: any(cell is not None for row in rows for cell in row)
)


@given(ROWS, st.sampled_from([",", ";", "\t"]), st.sampled_from(["", "NA", "None"]))
def test_any_table_is_read_back(rows, delimiter: str, missing: str):
    """Every cell is read back exactly, NaN and infinities too, and an empty one as an epoch that logged nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.csv")
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(["epoch", *NAMES])
            writer.writerows([[epoch, *(missing if x is None else x for x in row)] for epoch, row in enumerate(rows)])
        found = table_of(read(path))

    kept = [epoch for epoch, row in enumerate(rows) if any(value is not None for value in row)]
    for place, name in enumerate(NAMES):
        column = [rows[epoch][place] for epoch in kept]
        expected = [None if value is None else repr(value) for value in column]
        assert found.get(name, [None] * len(kept)) == expected


def test_samples_in_tables_have_the_values_of_keras():
    """CSVLogger's file and the history contain exactly what ``fit`` returned."""
    epochs = json.loads((DATA / "keras.json").read_text())["epochs"]
    for name, words in [("keras.csv", "Keras CSV"), ("keras_history.json", "Keras History")]:
        found = read(DATA / name)

        assert found.format == words
        assert shown(found) == {metric: [epoch[metric] for epoch in epochs] for metric in epochs[0]}


TABLES = {
    "pandas": (pd.DataFrame({"loss": [2.0, 1.0], "val_loss": [3.0, 2.5]}).to_csv(), [0, 1], "loss", [2.0, 1.0], ""),
    "Ultralytics": (
        "  epoch,  time,  train/box_loss,  val/box_loss,  lr/pg0\n 1, 5.5, 2.0, 2.5, 0.1\n 2, 9.5, 1.0, 1.5, 0.1\n",
        [0, 1],
        "val_box_loss",
        [2.5, 1.5],
        "counted from 1",
    ),
    "resumed": ("epoch,loss\n0,3\n1,2\n2,1\n1,2.5\n", [0, 1], "loss", [3.0, 2.5], "went back to their epochs"),
    "header again": ("epoch,loss\n0,3\nepoch,loss\n1,2\n", [0, 1], "loss", [3.0, 2.0], ""),
    "unsorted": ("epoch,loss\n2,1\n0,3\n1,2\n", [0, 1, 2], "loss", [3.0, 2.0, 1.0], ""),
    "torn": ("epoch,loss\n0,3.5\n1,2.2", [0], "loss", [3.5], "no line end"),
    "short line": ("epoch,loss,x\n0,3,1\n1,2\n2,1,1\n", [0, 2], "loss", [3.0, 1.0], "1 lines do not have"),
    "words": ("epoch,loss,note\n0,3,good\n1,2,bad\n", [0, 1], "loss", [3.0, 2.0], "'note' are not numbers"),
    "no epoch": ("epoch,loss\n0,3\n,2\n2,1\n-1,5\n1e300,5\n", [0, 2], "loss", [3.0, 1.0], "3 rows have no epoch"),
    "by steps": ("epoch,step,lr,loss\n,0,.1,\n0,5,,3\n,6,.2,\n1,9,,2\n", [0, 1], "learning_rate", [0.1, 0.2], ""),
    "byte order mark": ("\ufeffepoch,loss\n0,3\n", [0], "loss", [3.0], ""),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_all_kinds_are_read(case: str, tmp_path: Path):
    """Tables of loops, pandas and killed runs are read, and notes name what was left out or assumed."""
    text, epochs, metric, values, note = TABLES[case]
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    found = read(path)

    assert found.epochs.tolist() == epochs
    assert shown(found)[metric] == values
    assert note in " ".join(found.notes)
    assert note or not found.notes


def test_a_column_of_times_is_the_time(tmp_path: Path):
    """A column of rising seconds is the time, not a metric."""
    (tmp_path / "results.csv").write_text("epoch,time,loss\n1,10.5,2\n2,21.0,1\n")
    found = read(tmp_path)

    assert found.duration == 10.5
    assert set(found.metrics) == {"loss"}


def test_a_truncated_table_has_written_numbers_only(tmp_path: Path):
    """After truncation at any byte, each value read is a value of the complete table at its epoch."""
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,val_loss\n" + "".join(f"{epoch},{epoch / 7},{epoch / 3}\n" for epoch in range(8)))
    complete, data = table_of(read(path)), path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            found = read(path)
        except SettingsError:
            continue
        assert all(values == complete[name][: len(values)] for name, values in table_of(found).items())
