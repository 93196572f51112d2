"""The reader of CatBoost's directories, on one that CatBoost wrote."""

import json
import shutil
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all
from trainbus.replay.objective import Objective

from ...samples import FORMATS, MEASURED, best, logged, steps

DIRECTORY = FORMATS / "catboost" / "catboost_info"


def test_learn_and_test_are_one_run_judged_by_the_metric_that_catboost_names():
    """The JSON, the tables and the event files of both data sets are one run, whose best iteration is CatBoost's."""
    (found,) = read_all(DIRECTORY)
    evals = MEASURED["catboost"]["evals"]

    assert (found.name, found.format, found.unit) == ("catboost_info", "CatBoost", "iteration")
    assert steps(found) == list(range(12))
    assert logged(found, "test_AUC") == pytest.approx(evals["validation"]["AUC"])
    assert logged(found, "test_logloss") == pytest.approx(evals["validation"]["Logloss"])
    assert logged(found, "logloss") == pytest.approx(evals["learn"]["Logloss"])
    assert found.objective == Objective("test_AUC", "max")
    assert best(found, "test_AUC", "max") == MEASURED["catboost"]["best_iteration"]
    assert found.duration is not None
    assert found.duration > 0


def test_the_tables_alone_hold_the_same_numbers(tmp_path: Path):
    """Without the JSON, the tables of both data sets are read as the same run."""
    for name in ("learn_error.tsv", "test_error.tsv"):
        shutil.copy(DIRECTORY / name, tmp_path)
    (found,) = read_all(tmp_path)
    whole = read(DIRECTORY)

    assert steps(found) == steps(whole)
    for name in whole.metrics:
        assert logged(found, name) == logged(whole, name)


def test_several_sets_of_test_data(tmp_path: Path):
    """Of several sets, CatBoost judges by the last one; the tables number those before it."""
    rows = [{"iteration": 0, "learn": [3.0], "test": [2.0], "test1": [1.0]}]
    metric = [{"name": "RMSE", "best_value": "Min"}]
    meta = {"test_sets": ["test", "test1"], "test_metrics": metric, "learn_metrics": metric}
    (tmp_path / "catboost_training.json").write_text(json.dumps({"meta": meta, "iterations": rows}))
    (tmp_path / "test_error.tsv").write_text("iter\tRMSE:0\tRMSE\n0\t2\t1\n")
    found = read(tmp_path)
    assert {name: logged(found, name) for name in found.metrics} == {
        "RMSE": [3.0],
        "test_RMSE": [2.0],
        "test1/RMSE": [1.0],
    }
    assert found.objective == Objective("test1/RMSE", "min")

    (tmp_path / "catboost_training.json").unlink()
    found = read(tmp_path)
    assert {name: logged(found, name) for name in found.metrics} == {"test_RMSE": [2.0], "test1/RMSE": [1.0]}


def test_a_killed_run_is_read_up_to_its_last_iteration(tmp_path: Path):
    """CatBoost writes the end of the JSON only after the last iteration."""
    path = tmp_path / "catboost_training.json"
    content = (DIRECTORY / path.name).read_text()
    path.write_text(content[: content.index('"iteration":7') - 3])
    found = read(tmp_path)

    assert steps(found) == list(range(7))
    assert any("ends inside the training" in note for note in found.notes)


def test_damaged_files_are_refused_with_the_reason(tmp_path: Path):
    path = tmp_path / "catboost_training.json"
    path.write_text('{"meta": {"learn_metrics": []}, "iterations": [{"learn": [1.0]}]}')
    with pytest.raises(SettingsError, match="without the number 'iteration'"):
        read(path)
    path.write_text('{"meta": {"learn_metrics": []}, "iterations": [{{')
    with pytest.raises(SettingsError, match="not JSON of CatBoost, or is damaged"):
        read(path)
    table = tmp_path / "learn_error.tsv"
    table.write_text("iter\tRMSE\n0\t1\n1\tone\n")
    with pytest.raises(SettingsError, match="line 3 does not have the 2 numbers of the first line"):
        read(table)
