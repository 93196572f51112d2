"""The reader of evaluation results, on those of XGBoost and LightGBM."""

import json
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read

from ...samples import FORMATS, MEASURED, logged, steps


def test_results_of_xgboost():
    """``fit`` of scikit-learn's interface names no data; XGBoost stops early by the last, and counts from 0."""
    found, measured = read(FORMATS / "xgboost"), MEASURED["xgboost"]

    assert (found.unit, steps(found)) == ("iteration", list(range(12)))
    assert logged(found, "val_logloss") == measured["validation_1"]["logloss"]
    assert logged(found, "data_0/logloss") == measured["validation_0"]["logloss"]
    assert logged(found, "val_auc") == measured["validation_1"]["auc"]
    assert "'validation_1' is read as the validation, by which XGBoost and LightGBM stop early." in found.notes


def test_results_of_lightgbm():
    """LightGBM counts from 1, and calls the training data so."""
    found, measured = read(FORMATS / "lightgbm"), MEASURED["lightgbm"]

    assert (found.unit, steps(found)) == ("iteration", list(range(1, 13)))
    assert logged(found, "val_auc") == measured["valid_1"]["auc"]
    assert logged(found, "auc") == measured["training"]["auc"]
    assert logged(found, "binary_logloss") == measured["training"]["binary_logloss"]


def test_data_with_names_keep_them(tmp_path: Path):
    (tmp_path / "evals_result.json").write_text(json.dumps({"train": {"rmse": [3, 2]}, "test": {"rmse": [4, 3]}}))
    found = read(tmp_path)

    assert {name: logged(found, name) for name in found.metrics} == {"rmse": [3, 2], "test_rmse": [4, 3]}
    assert steps(found) == [0, 1]


def test_a_script_that_saves_its_own_history_counts_epochs(tmp_path: Path):
    """Such a history has the same form, and a loss, which no metric of boosting is called."""
    (tmp_path / "log.json").write_text(json.dumps({"train": {"loss": [3, 2]}, "val": {"loss": [4, 3], "acc": [0, 1]}}))
    found = read(tmp_path)

    assert (found.format, found.unit, found.epochs.tolist()) == ("JSON history by data set", "epoch", [0, 1])
    assert {name: logged(found, name) for name in found.metrics} == {
        "loss": [3, 2],
        "val_loss": [4, 3],
        "val_acc": [0, 1],
    }


@pytest.mark.parametrize(
    "content",
    [
        {"history": {"loss": [3, 2], "val_loss": [4, 3]}},
        {"train": {"loss": [3, 2]}, "epoch": [0, 1]},
        {"train": {"loss": [3, 2]}, "test": {"loss": [3, 2, 1]}},
        {"Adam": {"loss": [3, 2]}, "SGD": {"loss": [3, 2]}},
    ],
)
def test_other_histories_are_none(tmp_path: Path, content: object):
    """A history of Keras has the same form, and so have the histories of several runs."""
    path = tmp_path / "log.json"
    path.write_text(json.dumps(content))
    try:
        found = read(path)
    except SettingsError:
        return
    assert found.format != "evaluation results of boosting"
