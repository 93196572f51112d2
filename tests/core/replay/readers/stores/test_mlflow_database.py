"""The reader of MLflow's database, on one that MLflow wrote."""

import math
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...samples import CURVE, FORMATS, best, logged, steps

FILE = FORMATS / "mlflow" / "mlflow.db"


def _change(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copy(FILE, tmp_path))


def test_each_run_of_the_database_is_one():
    first, second = read_all(FILE)

    assert (first.format, first.unit, steps(first)) == ("MLflow database", "step", list(range(10)))
    assert logged(first, "val_loss") == CURVE
    assert logged(second, "val_loss") == [value + 0.1 for value in CURVE]
    assert math.isnan(logged(first, "loss")[1])
    assert logged(first, "bound") == [math.inf]  # MLflow stores the largest number in its place
    assert best(first, "val_loss") == 3
    assert first.settings == {"lr": "0.1", "batch_size": "32"}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_reading_changes_nothing(copy: Path, mode: str):
    """The database is opened read-only: neither it nor its directory changes, also with a write-ahead log."""
    _change(copy, f"PRAGMA journal_mode={mode}")
    before = copy.read_bytes()
    read_all(copy)

    assert copy.read_bytes() == before
    assert [each.name for each in copy.parent.iterdir()] == [copy.name]


def test_what_another_program_has_just_written_is_read(copy: Path):
    """While a program has the database open, its newest changes are in the write-ahead log."""
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("UPDATE runs SET name = 'renamed' WHERE name = 'first'")
        connection.commit()
        assert [run.name for run in read_all(copy)] == ["digits/renamed", "digits/second"]
        killed = copy.parent / "killed" / copy.name
        killed.parent.mkdir()
        for name in (copy.name, f"{copy.name}-wal"):
            shutil.copy(copy.parent / name, killed.parent)
    for run in read_all(killed):
        assert "The newest changes, which are in mlflow.db-wal after a killed program, are not read." in run.notes


def test_a_deleted_run_is_left_out(copy: Path):
    _change(copy, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'first'")
    assert read(copy).name == "digits/second"


def test_a_database_without_metrics_says_so(copy: Path):
    _change(copy, "DELETE FROM metrics")
    with pytest.raises(SettingsError, match="has 2 runs of MLflow, but none of them logged a metric"):
        read(copy)


def test_another_database_is_none_of_mlflow(tmp_path: Path):
    path = _change(tmp_path / "other.db", "CREATE TABLE studies (id INTEGER)")
    with pytest.raises(SettingsError, match="is a SQLite database without the tables of MLflow"):
        read(path)


def test_a_view_in_place_of_a_table_is_not_asked(copy: Path):
    """A view may be a query without an end."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS run_uuid FROM n"
    _change(copy, "DROP TABLE params", f"CREATE VIEW params AS {endless}")
    with pytest.raises(SettingsError, match="it has no table 'params'"):
        read(copy)


def test_a_column_that_is_computed_for_ever_is_given_up(copy: Path):
    """Generated columns are expressions that a crafted file may choose."""
    _change(
        copy,
        "DROP TABLE params",
        "CREATE TABLE params (run_uuid, key, text DEFAULT 'a', value AS (length(replace(hex(zeroblob(400000)), '0', "
        "'00'))))",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "INSERT INTO params (run_uuid, key) SELECT 'a', i FROM n",
    )
    with pytest.raises(SettingsError, match="string or blob too big"):
        read(copy)


@pytest.mark.parametrize("at", [100, 1024, 5000, 20000])
def test_a_damaged_database_is_refused_or_read(copy: Path, at: int):
    content = bytearray(copy.read_bytes())
    content[at : at + 300] = bytes(300)
    copy.write_bytes(content)
    errors: list[SettingsError] = []
    try:
        read_all(copy, unread=errors.append)
    except SettingsError as error:
        assert "mlflow.db" in str(error)  # noqa: PT017 - a damage that leaves the metrics whole is no error


def test_runs_with_one_name_have_their_ids_in_their_names(copy: Path):
    """MLflow allows any number of them."""
    _change(copy, "UPDATE runs SET name = 'same'")
    with closing(sqlite3.connect(copy)) as connection:
        ids = sorted(run for (run,) in connection.execute("SELECT DISTINCT run_uuid FROM metrics"))
    names = [each.name for each in read_all(copy)]
    assert len(names) == 2
    assert sorted(name.partition("#")[2] for name in names) == ids
    assert {name.partition("#")[0].endswith("/same") for name in names} == {True}
