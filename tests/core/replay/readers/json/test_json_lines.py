"""The reader of JSON lines."""

import json
import tempfile
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.limits import JOURNAL_LINE, LARGEST, METRICS
from trainbus.replay import read
from trainbus.replay.readers.json.json_lines import numbers_of

from ...recorded import shown, table_of

NAMES = ["loss", "val_loss", "accuracy", "learning_rate"]
NUMBERS = st.floats(-LARGEST, LARGEST) | st.sampled_from([inf, -inf, nan])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def written(folder: Path, *lines: Any) -> Path:
    """Return a file with these lines."""
    path = folder / "log"
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return path


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), NUMBERS, min_size=1), min_size=1, max_size=8))
def test_any_lines_are_read_back(lines: list[dict[str, float]]) -> None:
    """Every number, NaN and infinities too."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), *({"epoch": epoch, **line} for epoch, line in enumerate(lines)))
        found = table_of(read(path))
    for name in {name for line in lines for name in line}:
        assert found[name] == [repr(line[name]) if name in line else None for line in lines]


@given(st.lists(JSON, max_size=5))
def test_any_json_is_read_or_refused(lines: list[Any]) -> None:
    """No content raises anything else."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), {"step": 1, "loss": 2.0}, *lines)
        try:
            assert read(path).epochs.size
        except SettingsError as error:
            assert "failed:" not in str(error)  # noqa: PT017


def test_numbers_in_objects_and_short_lists_have_their_path_as_name() -> None:
    """Lists of more numbers, text and flags are no metrics."""
    line = {"val": {"top1": 0.5, "per_class": [0.1, 0.2]}, "weights": [0.0] * 1000, "name": "x", "best": True, "n": "3"}
    assert dict(numbers_of(line)) == {"val/top1": 0.5, "val/per_class/0": 0.1, "val/per_class/1": 0.2, "n": 3.0}


def test_the_numbers_of_a_coco_evaluation_have_their_names() -> None:
    """As pycocotools orders them."""
    found = dict(numbers_of({"test_coco_eval_bbox": list(range(12))}))
    assert (found["test_coco_eval_bbox/AP"], found["test_coco_eval_bbox/AP50"]) == (0.0, 1.0)


@pytest.mark.parametrize("key", ["mode", "split", "phase"])
def test_a_text_may_say_of_which_data_a_line_is(key: str, tmp_path: Path) -> None:
    """The lines of one epoch are then one row."""
    lines = [{"epoch": epoch, key: of, "loss": epoch + len(of)} for epoch in (1, 2) for of in ("train", "val")]
    assert shown(read(written(tmp_path, *lines))) == {"loss": [6.0, 7.0], "val_loss": [4.0, 5.0]}


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    """A note counts them; the last one may be half of one, as after a killed run."""
    found = read(written(tmp_path, {"step": 1, "loss": 3}, '{"step": 2, "lo', "Epoch done", {"step": 3, "loss": 1}))
    assert shown(found) == {"loss": [3.0, 1.0]}
    assert found.notes[0] == "2 lines are not complete JSON objects and are left out."


def test_what_is_found_in_a_folder_must_look_like_a_log(tmp_path: Path) -> None:
    """An axis and numbers, or names of metrics in several lines; the scores at the end of a run are no log."""
    for lines in (
        [{"id": 1, "size": 2}, {"id": 2, "size": 3}],
        [{"loss": 0.5}],
        [{"epoch": 3.0, "eval_loss": 0.5}],
        [{"text": "step 1"}] * 3,
    ):
        written(tmp_path, *lines)
        with pytest.raises(SettingsError, match="no recorded run"):
            read(tmp_path)
    for lines in (
        [{"loss": 0.5}, {"loss": 0.4}],
        [{"iter": 1, "x": 0.5}] * 2,
        [{"header": "a"}, *[{"step": 1, "x": 2}] * 9],
    ):
        written(tmp_path, *lines)
        assert read(tmp_path).format == "JSON lines"


def test_files_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    """In one line, before they do."""
    many = written(tmp_path, {"step": 1, "loss": 2}, {f"metric {number}": 1.0 for number in range(METRICS + 1)})
    with pytest.raises(SettingsError, match="metrics; the limit is 100,000"):
        read(many)
    long = written(tmp_path, {"step": 1, "loss": 2}, " " * JOURNAL_LINE)
    with pytest.raises(SettingsError, match="has a line of more than 4,000,000 characters"):
        read(long)
    deep = written(tmp_path, {"step": 1, "loss": 2}, "{" + '"a":{' * 100_000)
    assert shown(read(deep)) == {"loss": [2.0]}
