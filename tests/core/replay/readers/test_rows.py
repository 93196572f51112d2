"""Rows of labelled numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers import Table

rows = st.lists(st.dictionaries(st.sampled_from(["epoch", "loss", "val_loss"]), st.none() | st.floats()), max_size=10)


@given(rows)
def test_a_table_has_every_number_in_its_row(written: list[dict[str, float | None]]):
    """A cell without a number is left out of the cells, and NaN in the column."""
    table = Table()
    for row in written:
        if row and None not in row.values():
            table.add_numbers(tuple(row), [number for number in row.values() if number is not None])
        else:
            table.add(row.items())

    assert table.count == len(written)
    labels = {label for row in written for label, number in row.items() if number is not None}
    assert set(table.cells()) == labels
    for label in [*labels, "missing"]:
        numbers = [row.get(label) for row in written]
        assert repr(table.column(label).tolist()) == repr([np.nan if each is None else each for each in numbers])
        if label in labels:
            cells = table.cells()[label]
            assert cells.rows.tolist() == [place for place, each in enumerate(numbers) if each is not None]
            assert repr(cells.values.tolist()) == repr([each for each in numbers if each is not None])
