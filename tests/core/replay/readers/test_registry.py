"""The registry of formats: which file has which, and which files belong together."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay import read
from trainbus.replay.readers.registry import FORMATS, Format

from ..recorded import DATA
from ..streams import curve, write

SAMPLES = {
    "keras.csv": "CSV",
    "keras_history.json": "Keras History",
    "lightning_csv/version_0/metrics.csv": "CSV",
    "transformers/checkpoint-16/trainer_state.json": "Hugging Face trainer states",
}


def format_of(path: Path) -> Format | None:
    """Return the first format that recognizes a file."""
    return next((each for each in FORMATS if each.matches(path) and each.recognizes(path)), None)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_have_one_format(name: str):
    """A file that a real library wrote is recognized by its format and by no other one."""
    found = [each.title for each in FORMATS if each.matches(DATA / name) and each.recognizes(DATA / name)]

    assert found == [SAMPLES[name]]


def test_event_files_are_recognized_by_their_names():
    """Their content is checked when they are read, so that damage is reported and not skipped."""
    for path in DATA.rglob("*tfevents*"):
        assert format_of(path) is FORMATS[1]
    assert format_of(DATA / "make_samples.py") is None
    assert format_of(DATA / "lightning/version_0/hparams.yaml") is None


@given(st.binary(max_size=100), st.sampled_from(["a.csv", "a.log", "a.json", "a.jsonl", "trainer_state.json"]))
def test_any_bytes_are_recognized_or_not(data: bytes, name: str):
    """Recognition never raises, and what a format recognizes it can read or refuse."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        assert all(each.recognizes(path) in (True, False) for each in FORMATS if each.matches(path))


def test_files_of_one_run_are_grouped():
    """Event files of a run and checkpoints of a trainer belong together; each other file is a run."""
    by_title = {each.title: each for each in FORMATS}
    tables = [Path("a/log.csv"), Path("a/other.csv")]
    states = [Path(f"bert/checkpoint-{number}/trainer_state.json") for number in (9, 10)]
    events = [Path("a/train/x.tfevents"), Path("a/validation/y.tfevents")]

    assert by_title["CSV"].group(tables) == [[tables[0]], [tables[1]]]
    assert by_title["Hugging Face trainer states"].group(states) == [[states[1]]]
    assert by_title["TensorBoard event files"].group(events) == [events]


def test_steps_per_epoch_are_for_event_files_only(tmp_path: Path):
    """A format whose files contain epochs ignores the number."""
    (tmp_path / "log.csv").write_text("epoch,loss\n0,2\n1,1\n")
    write(tmp_path / "run/events.out.tfevents.1", curve("loss", range(4)))

    assert read(tmp_path / "log.csv", steps_per_epoch=2).epochs.tolist() == [0, 1]
    assert read(tmp_path / "run", steps_per_epoch=2).epochs.tolist() == [0, 1]
    assert read(tmp_path / "run").epochs.tolist() == [0, 1, 2, 3]
