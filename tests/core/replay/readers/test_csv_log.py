"""The laws of CSV files, Keras's histories, Hugging Face's states and journals: what stands there is read, or told."""

import csv
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError, journal
from trainbus.replay import Recording, read

from .tensorboard.test_runs import DATA, shown

NAMES = ["loss", "val_loss", "accuracy", "learning_rate"]
CELLS = st.floats() | st.none()
ROWS = st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=8).filter(
    lambda rows: any(cell is not None for row in rows for cell in row)
)


def table_of(found: Recording) -> dict[str, list[float | None]]:
    """Name to a value an epoch, None where nothing was logged; NaN as text, to compare equal."""
    return {
        name: [repr(value) if there else None for value, there in zip(*map(np.ndarray.tolist, series), strict=True)]
        for name, series in found.metrics.items()
    }


@given(ROWS, st.sampled_from([",", ";", "\t"]), st.sampled_from(["", "NA", "None"]))
def test_any_table_is_read_back(rows, delimiter: str, missing: str):
    """Every cell comes back exactly, NaN and infinities too, and an empty one as an epoch that logged nothing."""
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


def test_samples_in_tables_hold_what_keras_said():
    """CSVLogger's file and the history are exactly what `fit` returned."""
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
    """What loops, pandas and kills make of a table is read, and what was left out or assumed is said."""
    text, epochs, metric, values, note = TABLES[case]
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    found = read(path)

    assert found.epochs.tolist() == epochs
    assert shown(found)[metric] == values
    assert note in " ".join(found.notes)
    assert note or not found.notes


def test_a_column_of_times_is_the_time(tmp_path: Path):
    """Seconds that rise from row to row tell how long the run took, and are no metric."""
    (tmp_path / "results.csv").write_text("epoch,time,loss\n1,10.5,2\n2,21.0,1\n")
    found = read(tmp_path)

    assert found.duration == 10.5
    assert set(found.metrics) == {"loss"}


def test_a_table_that_was_cut_anywhere_has_no_number_that_was_not_written(tmp_path: Path):
    """Cut at every byte, each value that is read is one of the whole table, at its epoch."""
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,val_loss\n" + "".join(f"{epoch},{epoch / 7},{epoch / 3}\n" for epoch in range(8)))
    whole, data = table_of(read(path)), path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            found = read(path)
        except SettingsError:
            continue
        assert all(values == whole[name][: len(values)] for name, values in table_of(found).items())


def test_histories_that_validate_now_and_then(tmp_path: Path):
    """`validation_freq=2` makes shorter lists: their places follow, and are said; what fits nowhere is left out."""
    history = {"loss": [4, 3, 2, 1], "val_loss": ["3.5", "1.5"], "odd": [1, 2, 3], "vector": [[1], [2], [3], [4]]}
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"history": history, "epoch": [0, 1, 2, 3]}))
    found = read(tmp_path)

    assert table_of(found) == {"loss": ["4.0", "3.0", "2.0", "1.0"], "val_loss": [None, "3.5", None, "1.5"]}
    for words in ("'val_loss' has 2 values for 4 epochs: one every 2", "'odd' has 3", "'vector' has no numbers"):
        assert any(note.startswith(words) for note in found.notes)


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.floats(), min_size=3, max_size=3), min_size=1))
def test_any_history_is_read_back(history):
    """Whatever numbers a history has, they come back exactly."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "history.json")
        path.write_text(json.dumps(history))
        assert table_of(read(path)) == {name: [repr(value) for value in values] for name, values in history.items()}


def test_the_last_checkpoint_of_a_trainer_is_its_run(tmp_path: Path):
    """Of Hugging Face's checkpoints the newest has the whole story; they are one run, called as their directory."""
    for number in (5, 10, 20):
        entries = [{"epoch": epoch + 1.0, "step": 5, "eval_loss": 1 / number} for epoch in range(number // 5)]
        folder = tmp_path / "bert" / f"checkpoint-{number}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": entries}))
    found = read(tmp_path)

    assert (found.name, found.epochs.tolist()) == ("bert", [0, 1, 2, 3])
    assert shown(found) == {"val_loss": [0.05] * 4}


def test_journals_hold_every_run_exactly(tmp_path: Path):
    """Each run of a journal is a recording, with its numbers to the bit and the times at which its epochs ended."""
    values = [0.1, math.nan, -math.inf]
    events: list[journal.Event] = []
    for run in ("a", "b"):
        events.append(journal.RunStarted(time=0.0, run=run, subject=None))
        events += [
            journal.EpochEnded(time=10.0 * epoch, epoch=epoch, step=epoch, seconds=1.0, metrics={"val_loss": value})
            for epoch, value in enumerate(values)
        ]
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(event.model_dump_json() + "\n" for event in events[:4]))
    found = read(tmp_path)

    assert found.name == tmp_path.name
    assert table_of(found) == {"val_loss": ["0.1", "nan", "-inf"]}
    assert found.duration == 20.0
    path.write_text("".join(event.model_dump_json() + "\n" for event in events))
    with pytest.raises(SettingsError, match="2 runs"):
        read(path)


HOSTILE = {
    "log.csv": ["", "\n", "epoch\n", "a,b\n1,2\n", "epoch,x\n", "\0" * 50, "x" * (1 << 21), 'epoch,"' + "x" * 200_000],
    "history.json": ["", "{", "[1]", "{}", '{"a": []}', '{"a": "x"}', "[" * 100_000, '{"a": {"b": [1]}}', "\ud800"],
    "trainer_state.json": ["", "{}", '{"log_history": []}', '{"log_history": [1]}', '{"log_history": {}}', "null"],
    "journal.jsonl": ["", "{}", '{"event": "begin"}', "[]\n[]\n"],
    "events.out.tfevents.1": ["", "x", "x" * 100, "\0" * 100],
    "model.bin": ["", "x"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_that_is_no_recording_gets_through(name: str, tmp_path: Path):
    """Empty, foreign and broken files give one clear line, whether they are named or found."""
    for text in HOSTILE[name]:
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        for asked in (path, tmp_path):
            with pytest.raises(SettingsError) as caught:
                read(asked)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 600


@given(st.binary(max_size=200), st.sampled_from([*HOSTILE]))
def test_any_bytes_are_read_or_refused(data: bytes, name: str):
    """No bytes in any format do anything but make a recording or a SettingsError."""
    heads = {"log.csv": b"epoch,loss\n", "history.json": b'{"loss": [', "journal.jsonl": b'{"event": "begin"'}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        for content in (data, heads.get(name, b"") + data):
            path.write_bytes(content)
            try:
                found = read(path)
            except SettingsError:
                continue
            assert found.epochs.ndim == 1
