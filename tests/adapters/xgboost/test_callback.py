"""What is XGBoost's alone; tests/adapters/test_boosting.py tests what it shares with LightGBM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainbus import LambdaCallback, Run, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint

xgboost = pytest.importorskip("xgboost")
from tests.adapters.xgboost.trainings import X, Y, data, each_round, params, train  # noqa: E402
from trainbus.adapters.xgboost import XGBoostCallback  # noqa: E402


def test_the_classifier_takes_it() -> None:
    callback = XGBoostCallback([EarlyStopping(patience=1), ModelCheckpoint("best")], verbose=0)
    model = xgboost.XGBClassifier(n_estimators=40, learning_rate=0.5, n_jobs=1, callbacks=[callback])
    x, y = X[:60], Y[:60]
    model.fit(x, y, eval_set=[(x, y), (X[60:], Y[60:])], verbose=False)

    assert list(callback.run.history) == ["learning_rate", "logloss", "loss", "val_logloss", "val_loss"]
    assert "did not improve" in callback.run.result.reason
    assert model.get_booster().num_boosted_rounds() == callback.run.result.epochs


def test_metrics_of_the_training_data_are_found_by_the_data() -> None:
    training, held_out = data()

    def evaluated(*listed: Any) -> set[str]:
        callback = XGBoostCallback(verbose=0)
        more = params(eval_metric="error")
        xgboost.train(more, training, 1, evals=list(listed), callbacks=[callback], verbose_eval=False)
        return {name for name in callback.run.history if name != "learning_rate"}

    assert evaluated((held_out, "x"), (training, "y")) == {"val_error", "val_loss", "error", "loss"}
    assert evaluated((training, "val")) == {"error", "loss"}
    assert evaluated((held_out, "a")) == {"val_error", "val_loss"}
    assert evaluated((held_out, "a"), (held_out, "b")) == {"a_error", "val_error", "val_loss"}
    assert evaluated() == set()


def test_several_validation_sets_are_reported_and_one_is_chosen(caplog: pytest.LogCaptureFixture) -> None:
    sets = [(data()[1], "a"), (data()[1], "b")]
    train(XGBoostCallback(verbose=0), 1, evals=sets)
    assert "those of 'b', the last of 'a', 'b'; data='a' chooses another one" in caplog.text
    caplog.clear()
    callback = XGBoostCallback(data="a", verbose=0)
    train(callback, 1, evals=sets)

    assert {"val_auc", "val_logloss", "b_auc"} < {*callback.run.history}
    assert caplog.text == ""


def test_its_own_callbacks_work_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    callback = XGBoostCallback(ModelCheckpoint("m"), verbose=0)
    booster = train(callback, 40, verbose_eval=1, early_stopping_rounds=1)
    result = callback.run.result

    assert booster.num_boosted_rounds() == result.epochs < 40
    assert result.reason == "another callback of xgboost has ended the training"
    assert capsys.readouterr().out.count("second-logloss") == result.epochs
    again = XGBoostCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    train(again, 40)
    assert again.run.history == callback.run.history


def test_its_monitor_prints_the_round_in_which_a_run_stops(capsys: pytest.CaptureFixture[str]) -> None:
    callback = XGBoostCallback(EarlyStopping(patience=0), verbose=0)
    train(callback, 40, verbose_eval=1)

    assert capsys.readouterr().out.count("second-logloss") == callback.run.result.epochs


def test_its_checkpoints_and_schedules_work_beside_it() -> None:
    schedule = xgboost.callback.LearningRateScheduler(lambda round_: 0.5 / (round_ + 1))
    saved = xgboost.callback.TrainingCheckPoint("own", interval=2)
    Path("own").mkdir()
    callback = XGBoostCallback(ModelCheckpoint("m"), verbose=0)
    train(callback, 5, others=[schedule, saved])

    assert callback.run.history["learning_rate"] == pytest.approx([0.5, 0.5, 0.25, 0.5 / 3, 0.125])
    assert len(list(Path("own").iterdir())) >= 2


def test_a_rate_that_other_code_sets_is_noticed() -> None:
    """Another callback, or a plugin that has the booster."""

    def set_rate(model: Any, round_: int) -> None:
        model.set_param("learning_rate", 0.5 / (round_ + 2))

    held: list[Any] = []
    plugin = LambdaCallback(
        on_train_begin=lambda run: held.append(run.subject.booster),
        on_epoch_end=lambda run, epoch: set_rate(held[0], epoch),
    )
    rates = []
    for callback, others in (XGBoostCallback(verbose=0), [each_round(set_rate)]), (XGBoostCallback(plugin), []):
        train(callback, 3, others=others)
        rates.append(callback.run.history["learning_rate"])

    assert rates[0] == rates[1] == pytest.approx([0.5, 0.25, 0.5 / 3])


def test_the_configuration_is_not_read_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it takes as long as a small round."""
    calls: list[int] = []
    save_config = xgboost.Booster.save_config

    def counted(booster: Any) -> Any:
        calls.append(1)
        return save_config(booster)

    monkeypatch.setattr(xgboost.Booster, "save_config", counted)
    counts = []
    for rounds in (3, 30):
        calls.clear()
        train(XGBoostCallback(EarlyStopping(patience=99), verbose=0), rounds, early_stopping_rounds=99)
        counts.append(len(calls))

    assert counts[0] == counts[1]


def test_an_error_of_a_plugin_ends_the_run_and_the_training() -> None:
    class Fails:
        closed = False

        @hookimpl
        def on_train_begin(self, run: Run) -> None:
            run.at_end(lambda: setattr(self, "closed", True))

        @hookimpl
        def on_epoch_end(self, epoch: int) -> None:
            if epoch == 2:
                raise ValueError("in round 3")

    plugin = Fails()
    with pytest.raises(ValueError, match="in round 3"):
        train(XGBoostCallback(plugin, verbose=0))

    assert plugin.closed
