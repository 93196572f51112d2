"""The reader of Keras histories."""

import json
import tempfile
from math import inf, nan
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainbus.limits import LARGEST
from trainbus.replay import read

from ...recorded import table_of

NAMES = ["loss", "val_loss", "accuracy", "learning_rate"]


def test_histories_that_validate_now_and_then(tmp_path: Path):
    """With ``validation_freq=2``, the epochs of shorter lists are inferred and noted; other lengths are left out."""
    history = {"loss": [4, 3, 2, 1], "val_loss": ["3.5", "1.5"], "odd": [1, 2, 3], "vector": [[1], [2], [3], [4]]}
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"history": history, "epoch": [0, 1, 2, 3]}))
    found = read(tmp_path)

    assert table_of(found) == {"loss": ["4.0", "3.0", "2.0", "1.0"], "val_loss": [None, "3.5", None, "1.5"]}
    for words in ("'val_loss' has 2 values for 4 epochs: one every 2", "'odd' has 3", "'vector' has no numbers"):
        assert any(note.startswith(words) for note in found.notes)


def test_a_list_longer_than_the_epochs_is_left_out(tmp_path: Path):
    """A list of batches, or an empty one, has no place in the epochs; a note names it."""
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"epoch": [0, 1], "loss": [2.0, 1.0], "batches": [3.0, 2.0, 1.0], "none": []}))
    found = read(path)

    assert table_of(found) == {"loss": ["2.0", "1.0"]}
    assert found.notes == (
        "'batches' has 3 values for 2 epochs and is left out.",
        "'none' has 0 values for 2 epochs and is left out.",
    )


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.lists(st.floats(-LARGEST, LARGEST) | st.sampled_from([inf, -inf, nan]), min_size=3, max_size=3),
        min_size=1,
    )
)
def test_any_history_is_read_back(history):
    """All numbers of a history are read back exactly."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "history.json")
        path.write_text(json.dumps(history))
        assert table_of(read(path)) == {name: [repr(value) for value in values] for name, values in history.items()}
