"""What is LightGBM's alone; tests/adapters/test_boosting.py tests what it shares with XGBoost."""

from __future__ import annotations

from typing import Any

import pytest

from trainbus import Decision, LambdaCallback, LoopError, Run, SettingsError
from trainbus.decision import restore, stop
from trainbus.plugins import EarlyStopping, ModelCheckpoint, TensorBoard

lightgbm = pytest.importorskip("lightgbm")
from tests.adapters.lightgbm.trainings import X, Y, content, params, train  # noqa: E402
from trainbus.adapters.lightgbm import LightGBMCallback  # noqa: E402
from trainbus.testing import EventRecorder  # noqa: E402


def _fit(callbacks: Any) -> None:
    lightgbm.LGBMRegressor(n_estimators=2, n_jobs=1, verbose=-1).fit(X, Y, callbacks=callbacks)


def _train_with(callbacks: Any) -> None:
    lightgbm.train(params(), lightgbm.Dataset(X, Y), 2, callbacks=callbacks)


@pytest.mark.parametrize("train_with", [_train_with, _fit])
@pytest.mark.parametrize("listed", [lambda each: [each], lambda each: [each, lightgbm.log_evaluation()]])
def test_without_the_star_it_is_refused(train_with: Any, listed: Any) -> None:
    """Decisions could not act on the round that follows them."""
    callback = LightGBMCallback([], verbose=0)
    with pytest.raises(SettingsError, match=r"callbacks=\[\*callback\], with a star"):
        train_with(listed(callback))
    with pytest.raises(LoopError, match="no run yet"):
        _ = callback.run


def test_without_the_star_a_resumed_run_ends_with_the_error() -> None:
    train(LightGBMCallback(ModelCheckpoint("m"), verbose=0), 4)
    again = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    with pytest.raises(SettingsError, match=r"callbacks=\[\*callback\], with a star"):
        train(None, 9, others=[again], model=again.init_model)
    assert isinstance(again.run.error, SettingsError)


def test_the_callback_is_no_list_to_which_fit_appends() -> None:
    with pytest.raises(SettingsError, match=r"callbacks=\[\*callback\], with a star"):
        _fit(LightGBMCallback([], verbose=0))


@pytest.mark.parametrize("listed", [lambda each: each, lambda each: [*each, *each]])
def test_however_it_is_listed_it_is_called_once_before_and_once_after_each_round(listed: Any) -> None:
    recorder = EventRecorder("on_epoch_begin", "on_epoch_end")
    callback = LightGBMCallback(recorder, verbose=0)
    _train_with(listed(callback))
    assert recorder.names == ["on_epoch_begin", "on_epoch_end"] * 2


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
def test_the_classifier_takes_it() -> None:
    callback = LightGBMCallback([EarlyStopping(patience=1), ModelCheckpoint("best")], verbose=0)
    model = lightgbm.LGBMClassifier(n_estimators=40, learning_rate=0.5, n_jobs=1, verbose=-1)
    model.fit(X[:100], Y[:100], eval_set=[(X[100:], Y[100:])], callbacks=[*callback])

    assert list(callback.run.history) == ["learning_rate", "val_binary_logloss", "val_loss"]
    assert "did not improve" in callback.run.result.reason
    assert model.booster_.num_trees() == callback.run.result.epochs


def test_metrics_of_the_training_data_are_found_by_the_data() -> None:
    training = lightgbm.Dataset(X[:100], Y[:100])
    held_out = lightgbm.Dataset(X[100:], Y[100:], reference=training)

    def evaluated(*sets: Any, **options: Any) -> set[str]:
        callback = LightGBMCallback(verbose=0)
        more = params(metric="binary_error")
        lightgbm.train(more, training, 1, valid_sets=list(sets), callbacks=[*callback], **options)
        return {name for name in callback.run.history if name != "learning_rate"}

    both = {"val_binary_error", "val_loss", "binary_error", "loss"}
    assert evaluated(held_out, training, valid_names=["x", "y"]) == both
    assert evaluated(held_out, training) == both
    assert evaluated(training, valid_names=["val"]) == {"binary_error", "loss"}
    assert evaluated(held_out, valid_names="a") == {"val_binary_error", "val_loss"}
    assert evaluated() == set()


def test_several_validation_sets_are_reported_and_one_is_chosen(caplog: pytest.LogCaptureFixture) -> None:
    train(LightGBMCallback(data="first", verbose=0), 1)
    assert caplog.text == ""

    training = lightgbm.Dataset(X[:100], Y[:100])
    sets = [lightgbm.Dataset(X[100:], Y[100:], reference=training) for _ in range(2)]
    callback = LightGBMCallback(verbose=0)
    lightgbm.train(params(), training, 1, valid_sets=sets, callbacks=[*callback])

    assert "those of 'valid_1', the last of 'valid_0', 'valid_1'; data='valid_0' chooses another one" in caplog.text
    assert {"val_auc", "valid_0_auc", "val_loss"} < set(callback.run.history)


@pytest.mark.parametrize("rounds", [2, 4])
def test_a_training_whose_rounds_are_done_is_over(rounds: int) -> None:
    first = LightGBMCallback(ModelCheckpoint("m"), verbose=0)
    trained = train(first, 4)
    again = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    booster = train(again, rounds, model=again.init_model)

    assert content(booster) == content(trained)
    assert again.run.history == first.run.history


def test_nothing_to_resume_is_no_model() -> None:
    callback = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)

    assert callback.init_model is None
    first = callback.run
    assert callback.init_model is None
    train(callback, 3, model=callback.init_model)
    assert callback.run is first
    assert first.result.epochs == 3


def test_a_training_that_does_not_take_the_model_is_refused() -> None:
    train(LightGBMCallback(ModelCheckpoint("m"), verbose=0), 4)
    again = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    with pytest.raises(LoopError, match="a model of 4 rounds, but this training begins after 0; give lightgbm init_m"):
        train(again, 9)

    state = again.run.state_dict() if again.run.error is None else None
    assert state is None


def test_its_own_callbacks_work_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    recorded: dict[str, Any] = {}
    own = [lightgbm.log_evaluation(1), lightgbm.record_evaluation(recorded)]
    callback = LightGBMCallback(EarlyStopping(patience=1), verbose=0)
    train(callback, 30, others=own)

    assert recorded["second"]["binary_logloss"] == callback.run.history["val_loss"]
    assert capsys.readouterr().out.count("second's binary_logloss") == callback.run.result.epochs


def test_its_own_early_stopping_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    callback = LightGBMCallback([ModelCheckpoint("m"), TensorBoard("logs")], verbose=0)
    booster = train(callback, 40, others=[lightgbm.early_stopping(2)])
    result = callback.run.result

    assert callback.run.state.phase == "ended"
    assert callback.run.error is None
    assert booster.best_iteration < result.epochs < 40
    assert result.reason == "another callback of lightgbm has ended the training"
    again = LightGBMCallback([ModelCheckpoint("m"), TensorBoard("logs")], resume="auto", verbose=0)
    train(again, 40, model=again.init_model)
    assert again.run.history == callback.run.history


def test_its_schedules_work_beside_it() -> None:
    schedule = lightgbm.reset_parameter(learning_rate=lambda round_: 0.5 / (round_ + 1))
    callback = LightGBMCallback(ModelCheckpoint("m"), verbose=0)
    train(callback, 4, others=[schedule])

    assert callback.run.history["learning_rate"] == pytest.approx([0.5, 0.25, 0.5 / 3, 0.125])


@pytest.mark.parametrize(
    "hook", ["on_epoch_begin", "on_batch_begin", "on_batch_end", "on_validation_end", "on_epoch_end"]
)
def test_a_model_that_is_restored_is_not_trained_on(hook: str) -> None:
    def restores(run: Run, epoch: int) -> Decision | None:
        return restore("m.txt", "test") if epoch == 4 else None

    callback = LightGBMCallback([ModelCheckpoint("m"), LambdaCallback(**{hook: restores})], verbose=0)
    with pytest.raises(LoopError, match="restored the model in the middle of a training"):
        train(callback, 9)

    assert callback.run.state.phase == "ended"
    assert callback.run.result.epochs in (4, 5)


def test_a_model_that_is_restored_with_a_stop_is_the_result() -> None:
    def restores(run: Run, epoch: int) -> Decision | None:
        return restore("m-2.txt", "test") | stop("enough") if epoch == 4 else None

    callback = LightGBMCallback([ModelCheckpoint("m-{epoch}"), LambdaCallback(on_epoch_end=restores)], verbose=0)

    assert train(callback, 9).num_trees() == 2
    assert callback.run.result.reason == "enough"
