"""Tables that hold several runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay import Recording, read_all
from trainbus.replay.readers import Table
from trainbus.replay.readers.table_recording import record_runs


def rows_of(label: str, runs: int, length: int = 6, axis: str | None = "epoch") -> list[dict[str, float]]:
    """Return the rows of some runs, one after the other."""
    rows = [
        {label: float(run), "step": float(at), "loss": run + 1 / (at + 1)}
        for run in range(runs)
        for at in range(length)
    ]
    return [
        {axis if name == "step" and axis else name: row[name] for name in row if axis or name != "step"} for row in rows
    ]


def recorded(rows: list[dict[str, float]]) -> list[Recording]:
    """Return the runs in these rows."""
    table = Table()
    for row in rows:
        table.add(row.items())
    return record_runs("log", "rows", table, [])


@pytest.mark.parametrize("label", ["fold", "Fold", "kfold", "fold_idx", "trial", "trial_id", "run", "seed", "repeat"])
@given(runs=st.integers(2, 5), axis=st.sampled_from(["epoch", "step", None]), mixed=st.booleans(), data=st.data())
def test_each_value_is_a_run(label: str, runs: int, axis: str | None, *, mixed: bool, data: st.DataObject) -> None:
    """Also if their rows are mixed, or if one ended early; the number is a setting, and no metric."""
    rows = rows_of(label, runs, axis=axis)
    killed = data.draw(st.integers(0, 4))
    rows = rows[: len(rows) - killed]
    if mixed:
        rows.sort(key=lambda row: row.get(axis or label, 0))
    found = recorded(rows)
    assert [each.settings for each in found] == [{label: run} for run in range(runs)]
    assert [each.name for each in found] == [f"log#{label} {run}" for run in range(runs)]
    for run, each in enumerate(found):
        assert [*each.metrics] == ["loss"]
        length = 6 - killed if run == runs - 1 else 6
        assert each.metrics["loss"].values.tolist() == [run + 1 / (at + 1) for at in range(length)]


def test_a_number_that_goes_on_with_the_epochs_is_one_run() -> None:
    """It counts how often the run was resumed; a note says so."""
    rows = [{"run": float(at // 5), "epoch": float(at), "loss": 1 / (at + 1)} for at in range(20)]
    (found,) = recorded(rows)
    assert (len(found.epochs), [*found.metrics], found.settings) == (20, ["loss"], {})
    assert any("'run'" in note for note in found.notes)


def test_a_constant_number_is_a_setting() -> None:
    """The only seed, and one of two numbers of runs."""
    (found,) = recorded(rows_of("seed", 1))
    assert ([*found.metrics], found.settings, found.notes) == (["loss"], {"seed": 0}, ())
    both = recorded([{"seed": 7.0, **row} for row in rows_of("fold", 2)])
    assert [each.name for each in both] == ["log#fold 0", "log#fold 1"]
    assert [each.settings for each in both] == [{"seed": 7, "fold": fold} for fold in (0, 1)]


@pytest.mark.parametrize("label", ["folds_done", "run_time", "trial_loss", "seeded", "val_fold_accuracy"])
def test_other_labels_are_metrics(label: str) -> None:
    """Whatever words they have."""
    (found,) = recorded([{label: float(at % 3), "epoch": float(at), "loss": 1.0} for at in range(9)])
    assert label in found.metrics


@pytest.mark.parametrize("file", ["log.csv", "log.jsonl", "log.json"])
def test_every_kind_of_table_is_split(file: str, tmp_path: Path) -> None:
    """CSV, lines and lists of JSON."""
    rows = rows_of("fold", 3)
    text = {
        ".csv": "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows), ""]),
        ".jsonl": "".join(f"{json.dumps(row)}\n" for row in rows),
        ".json": json.dumps(rows),
    }
    (tmp_path / file).write_text(text[Path(file).suffix])
    assert [each.name for each in read_all(tmp_path)] == [f"{file}#fold {fold}" for fold in range(3)]
