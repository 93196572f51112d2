"""Cells without numbers."""

from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read
from trainbus.replay.readers.tables.invalid_cells import InvalidCells

FORMS = {
    "1,0920": "such as '1,0920': write decimal points",
    "tensor(0.5, device='cuda:0')": "log numbers, as of tensor.item()",
    "[0.5, 0.25]": "such as '[0.5, 0.25]': write each number into a column of its own",
    "91.5 %": "write numbers without '%'",
    "good": "are left out, such as 'good'.",
}


@pytest.mark.parametrize("cell", FORMS)
def test_a_table_of_other_cells_is_refused_with_the_reason(cell: str, tmp_path: Path) -> None:
    """And with the fix, where it is known; if some cells have numbers, a note says the same."""
    path = tmp_path / "log.csv"
    path.write_text("epoch;loss\n" + "".join(f"{epoch};{cell}\n" for epoch in range(3)))
    with pytest.raises(
        SettingsError, match=r"log.csv' has no completed epoch: 3 cells of 'loss' are not numbers"
    ) as why:
        read(path)
    assert FORMS[cell].rstrip(".") in str(why.value)
    path.write_text(path.read_text() + "3;0.5\n")
    (note,) = (note for note in read(path).notes if "cells" in note)
    assert FORMS[cell] in note


def test_columns_are_counted_apart() -> None:
    """Only those that are asked for have a sentence."""
    cells = InvalidCells()
    for label in "aab":
        cells.add(label, "x" * 100)
    (note,) = cells.notes(["a", "c"])
    assert note.startswith("2 cells of 'a' are not numbers")
    assert len(note) < 120
