"""LightGBM: trainings that are runs, stopped, cut, saved and resumed."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.adapters.interrupted import Interrupts, interrupted
from trainbus import (
    Decision,
    LambdaCallback,
    LoopError,
    MissingMetric,
    Run,
    SettingsError,
)
from trainbus.decision import restore, stop
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard, TerminateOnNaN
from trainbus.testing import check_binding

lightgbm = pytest.importorskip("lightgbm")
from trainbus.adapters.lightgbm import LightGBMCallback  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(150, 4))
Y = (X.sum(1) + RANDOM.normal(size=150) > 0).astype(int)
PARAMS = {
    "objective": "binary",
    "learning_rate": 0.5,
    "num_leaves": 4,
    "min_data_in_leaf": 5,
    "num_threads": 1,
    "metric": ["auc", "binary_logloss"],
    "verbosity": -1,
}
ROUNDS = 12
KINDS: dict[str, dict[str, Any]] = {
    "trees": {},
    "squares": {"objective": "regression", "metric": "l2"},
    "distances": {"objective": "regression_l1", "metric": "l1"},
    "classes": {"objective": "multiclass", "num_class": 3, "metric": "multi_logloss"},
    "deep": {"num_leaves": 16, "eta": 0.3},
}
"""Kinds of models by what they add to the parameters."""


def params(**more: Any) -> dict[str, Any]:
    return {**PARAMS, **more}


def train(
    callback: Any, rounds: int = ROUNDS, more: Mapping[str, Any] | None = None, others: Any = (), **options: Any
) -> Any:
    """Train as users do, with the training data among those that are evaluated."""
    training = lightgbm.Dataset(X[:100], Y[:100])
    held_out = lightgbm.Dataset(X[100:], Y[100:], reference=training)
    given = {"valid_sets": [training, held_out], "valid_names": ["first", "second"], **options}
    return lightgbm.train(params(**(more or {})), training, rounds, callbacks=[*callback, *others], **given)


def callbacks(*more: object, save_freq: Any = "epoch") -> list[Any]:
    return [
        EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True),
        ReduceLROnPlateau(monitor="val_loss", patience=0, factor=0.5),
        ModelCheckpoint("best", save_best_only=True),
        ModelCheckpoint("last-{epoch}", save_freq=save_freq, keep_last=2),
        *more,
    ]


def trees(booster: Any) -> str:
    return str(booster.model_to_string(num_iteration=-1)).partition("\nfeature_importances")[0]


# --- what the four behaviours decide


def plain_run(history: Mapping[str, Any], *listed: Any) -> Run:
    """Return a run of a plain loop over the same metrics."""
    with Run(callbacks=list(listed), verbose=0) as run:
        for epoch in run.epochs(ROUNDS):
            run.log({name: values[epoch] for name, values in history.items() if name != "learning_rate"})
    return run


def test_the_four_behaviours_act_and_decide_as_in_a_plain_loop() -> None:
    callback = LightGBMCallback([*callbacks(), TensorBoard("logs")], verbose=0)
    booster = train(callback, 30)
    run = callback.run
    best = min(range(run.result.epochs), key=run.history["val_loss"].__getitem__)

    assert run.result.reason == plain_run(run.history, EarlyStopping(patience=3)).result.reason != ""
    assert booster.num_trees() == booster.best_iteration == best + 1 < run.result.epochs
    assert run.history["learning_rate"][-1] < 0.5 == run.history["learning_rate"][0]
    assert list(Path("logs").rglob("events.*"))
    assert trees(lightgbm.Booster(model_file="best.txt")) == trees(booster)


@pytest.mark.parametrize("patience", range(5))
def test_the_stop_is_that_of_a_plain_loop(patience: int) -> None:
    recorded: dict[str, Any] = {}
    train([], others=[lightgbm.record_evaluation(recorded)])
    history = {"val_loss": recorded["second"]["binary_logloss"]}
    stop = EarlyStopping(patience=patience)
    callback = LightGBMCallback(stop, verbose=0)
    train(callback)

    assert callback.run.result.reason == plain_run(history, stop).result.reason
    assert callback.run.history["val_loss"] == history["val_loss"][: callback.run.result.epochs]


def test_without_the_star_the_decisions_are_the_same() -> None:
    starred, plain = (LightGBMCallback(callbacks(), verbose=0) for _ in range(2))
    one = train(starred, 30)
    other = train([], 30, others=[plain])

    assert plain.run.history == starred.run.history
    assert trees(one) == trees(other)


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
def test_the_classifier_takes_it() -> None:
    callback = LightGBMCallback([EarlyStopping(patience=1), ModelCheckpoint("best")], verbose=0)
    model = lightgbm.LGBMClassifier(n_estimators=40, learning_rate=0.5, n_jobs=1, verbose=-1)
    model.fit(X[:100], Y[:100], eval_set=[(X[100:], Y[100:])], callbacks=[*callback])

    assert list(callback.run.history) == ["learning_rate", "val_binary_logloss", "val_loss"]
    assert "did not improve" in callback.run.result.reason
    assert model.booster_.num_trees() == callback.run.result.epochs


# --- names


def names(callback: LightGBMCallback, **options: Any) -> set[str]:
    train(callback, 1, **options)
    return {name for name in callback.run.history if name != "learning_rate"}


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
    names(LightGBMCallback(data="first", verbose=0))
    assert caplog.text == ""

    training = lightgbm.Dataset(X[:100], Y[:100])
    sets = [lightgbm.Dataset(X[100:], Y[100:], reference=training) for _ in range(2)]
    callback = LightGBMCallback(verbose=0)
    lightgbm.train(params(), training, 1, valid_sets=sets, callbacks=[*callback])

    assert "those of 'valid_1', the last of 'valid_0', 'valid_1'; data='valid_0' chooses another one" in caplog.text
    assert {"val_auc", "valid_0_auc", "val_loss"} < set(callback.run.history)


@pytest.mark.parametrize(
    ("metrics", "loss"),
    [
        (["binary_logloss"], True),
        (["binary_logloss", "auc"], False),
        (["auc", "binary_error"], True),
        (["average_precision"], False),
    ],
)
def test_the_last_metric_is_the_loss_if_lower_is_better(metrics: list[str], loss: bool) -> None:
    assert ("val_loss" in names(LightGBMCallback(verbose=0), more={"metric": metrics})) is loss


def test_the_loss_is_the_metric_that_is_named() -> None:
    callback = LightGBMCallback(metric="binary_error", verbose=0)
    train(callback, 2, {"metric": ["binary_error", "auc"]})

    assert callback.run.history["val_loss"] == callback.run.history["val_binary_error"]


# --- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "secnd"}, "data='secnd' is not evaluated; did you mean 'second'"),
        ({"metric": "binary_loglos"}, "metric='binary_loglos' is not computed; did you mean 'binary_logloss'"),
        ({"metric": "auc"}, "higher is better; write monitor='val_auc'"),
    ],
)
def test_wrong_options_are_refused_in_the_first_round(options: dict[str, Any], message: str) -> None:
    rounds: list[int] = []
    with pytest.raises(SettingsError, match=message):
        train(LightGBMCallback(verbose=0, **options), others=[counting(rounds)])

    assert len(rounds) <= 1


def counting(rounds: list[int]) -> Callable[[Any], None]:
    def count(env: Any) -> None:
        rounds.append(env.iteration)

    return count


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("val_los", "did you mean 'val_loss'"),
        ("val_binary_loglos", "did you mean 'val_binary_logloss'"),
        ("val_accuracy", "write it into metric of the parameters, or monitor"),
        ("auk", "'auc'"),
    ],
)
def test_a_wrong_metric_is_refused_in_the_first_round(monitor: str, message: str) -> None:
    callback = LightGBMCallback(EarlyStopping(monitor=monitor, mode="min"), verbose=0)
    with pytest.raises(MissingMetric, match=message):
        train(callback)

    assert callback.run.result.epochs == 1


def test_a_missing_validation_set_is_named() -> None:
    with pytest.raises(MissingMetric, match=r"give lightgbm\.train valid_sets="):
        train(LightGBMCallback(EarlyStopping(), verbose=0), valid_sets=None, valid_names=None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LightGBMCallback(EarlyStopping, verbose=0),
        lambda: LightGBMCallback(TensorBoard(histogram_freq=1), ModelCheckpoint("best")),
        lambda: LightGBMCallback(ModelCheckpoint("best.pt")),
        lambda: LightGBMCallback(verbos=1),
        lambda: LightGBMCallback(resume=3),
        lambda: LightGBMCallback("EarlyStoping"),
    ],
)
def test_what_cannot_work_is_refused_before_the_training(make: Callable[[], Any]) -> None:
    with pytest.raises((SettingsError, TypeError)):
        make()


def test_cross_validation_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"call lightgbm\.train for each fold"):
        lightgbm.cv(params(), lightgbm.Dataset(X, Y), 2, callbacks=[*LightGBMCallback(verbose=0)])


def test_without_a_training_there_is_no_run() -> None:
    with pytest.raises(LoopError, match=r"it begins in lightgbm\.train"):
        _ = LightGBMCallback().run


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_keep_the_settings(copied: Callable[[Any], Any]) -> None:
    callback = LightGBMCallback(EarlyStopping(patience=0, monitor="val_auc"), data="first", verbose=0)
    other = copied(callback)
    train(other)
    last = other.run
    again = copied(other)
    train(again)

    assert again.run.history == last.history
    assert other.run is last


# --- resuming


def resumable(
    save_freq: Any = "epoch", more: Mapping[str, Any] | None = None, rounds: int = ROUNDS
) -> Callable[[object, bool], Run]:
    def training(plugin: object, resume: bool) -> Run:
        listed = callbacks(plugin, save_freq=save_freq)
        callback = LightGBMCallback(listed, resume="auto" if resume else None, verbose=0)
        train(callback, rounds, more, init_model=callback.init_model)
        return callback.run

    return training


def own_way(plugin: object, resume: bool) -> Run:
    """Train, and continue by ``init_model=`` with the further rounds."""
    state, model, rounds = None, None, ROUNDS
    if resume and Path("state").exists():
        text, state = pickle.loads(Path("state").read_bytes())
        model = lightgbm.Booster(model_str=text)
        rounds -= model.current_iteration()
    callback = LightGBMCallback(callbacks(plugin), resume=state, verbose=0)

    def save(env: Any) -> None:
        text = env.model.model_to_string(num_iteration=-1)
        Path("state.new").write_bytes(pickle.dumps((text, callback.run.state_dict())))
        Path("state.new").replace("state")

    save.order = 26  # type: ignore[attr-defined]
    if rounds:
        train(callback, rounds, init_model=model, others=[save])
    else:  # LightGBM refuses to train no round
        train(callback, 1, init_model=model, others=[save])
    return callback.run


def test_a_killed_training_resumes_as_if_unbroken() -> None:
    check_binding(resumable(rounds=4), at=["on_epoch_end"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_model_resumes_from_each_event(kind: str) -> None:
    check_binding(resumable(more=KINDS[kind]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("save_freq", [1, 2, "1 validations"])
def test_it_resumes_from_saves_inside_of_a_round(save_freq: Any) -> None:
    check_binding(resumable(save_freq))


@pytest.mark.exhaustive
def test_it_resumes_by_the_way_of_lightgbm() -> None:
    check_binding(own_way)


def test_a_finished_training_is_not_trained_again() -> None:
    first = LightGBMCallback(callbacks(), verbose=0)
    trained = train(first)
    again = LightGBMCallback(callbacks(), resume="auto", verbose=0)
    booster = train(again, init_model=again.init_model)

    assert again.run.history == first.run.history
    assert again.run.result.reason == first.run.result.reason
    assert trees(booster) == trees(trained)


@pytest.mark.parametrize("rounds", [2, 4])
def test_a_training_whose_rounds_are_done_is_over(rounds: int) -> None:
    first = LightGBMCallback(ModelCheckpoint("m"), verbose=0)
    trained = train(first, 4)
    again = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    booster = train(again, rounds, init_model=again.init_model)

    assert trees(booster) == trees(trained)
    assert again.run.history == first.run.history


@pytest.mark.parametrize("more", [{}, {"metric": "auc"}, {"eta": 0.25, "learning_rate": 0.25}])
def test_more_rounds_continue_a_training_that_was_not_stopped(more: dict[str, Any]) -> None:
    train(LightGBMCallback(ModelCheckpoint("m"), verbose=0), 4, more)
    again = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    booster = train(again, 9, more, init_model=again.init_model)

    assert trees(booster) == trees(train([], 9, more))
    assert again.run.result.epochs == 9
    assert booster.current_iteration() == 9


def test_nothing_to_resume_is_no_model() -> None:
    callback = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)

    assert callback.init_model is None
    first = callback.run
    assert callback.init_model is None
    train(callback, 3, init_model=callback.init_model)
    assert callback.run is first
    assert first.result.epochs == 3


def test_a_training_that_does_not_take_the_model_is_refused() -> None:
    train(LightGBMCallback(ModelCheckpoint("m"), verbose=0), 4)
    again = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    with pytest.raises(LoopError, match="a model of 4 rounds, but this training begins after 0; give lightgbm init_m"):
        train(again, 9)

    state = again.run.state_dict() if again.run.error is None else None
    assert state is None


def test_a_cut_rate_needs_the_star() -> None:
    cut = ReduceLROnPlateau(monitor="val_loss", patience=0, factor=0.5, min_delta=9)
    train(LightGBMCallback([cut, ModelCheckpoint("m")], verbose=0), 4)
    again = LightGBMCallback([cut, ModelCheckpoint("m")], resume="auto", verbose=0)
    with pytest.raises(LoopError, match=r"callbacks=\[\*callback\], with a star"):
        train([], 9, others=[again], init_model=again.init_model)


def test_only_the_first_training_resumes(caplog: pytest.LogCaptureFixture) -> None:
    train(LightGBMCallback(ModelCheckpoint("m"), verbose=0), 3)
    callback = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    train(callback, 5, init_model=callback.init_model)
    assert "was used in the first training" not in caplog.text

    train(callback, 2, init_model=callback.init_model)

    assert "was used in the first training" in caplog.text
    assert len(callback.run.history["loss"]) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"bagging_fraction": 0.5, "bagging_freq": 1}, "bagging_freq=1"),
        ({"feature_fraction": 0.5}, "feature_fraction=0.5"),
        ({"subsample": 0.5, "subsample_freq": 2}, "bagging_freq=2"),
        ({"boosting": "dart"}, "boosting=dart"),
        ({"data_sample_strategy": "goss"}, "data_sample_strategy=goss"),
        ({"extra_trees": True}, "extra_trees=1"),
        ({"bagging_fraction": 0.5}, ""),
        ({}, ""),
    ],
)
def test_what_cannot_resume_exactly_is_said(more: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture) -> None:
    train(LightGBMCallback(ModelCheckpoint("m"), verbose=0), 3, more)
    assert "random generators" not in caplog.text
    callback = LightGBMCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    train(callback, 5, more, init_model=callback.init_model)

    assert ("random generators: with " + said in caplog.text) is bool(said)


@pytest.mark.parametrize(("source", "rate"), [("checkpoint", 0.5), ("script", 0.25)])
def test_the_rate_of_the_checkpoint_or_of_the_script_is_used(
    source: Any, rate: float, caplog: pytest.LogCaptureFixture
) -> None:
    train(LightGBMCallback(ModelCheckpoint("m"), verbose=0), 2)
    callback = LightGBMCallback(ModelCheckpoint("m"), resume="auto", resume_learning_rates=source, verbose=0)
    train(callback, 3, {"learning_rate": 0.25}, init_model=callback.init_model)

    assert callback.run.history["learning_rate"] == [0.5, 0.5, rate]
    assert ("resume_learning_rates='script'" in caplog.text) is (source == "checkpoint")


# --- beside LightGBM's own


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
    train(again, 40, init_model=again.init_model)
    assert again.run.history == callback.run.history


def test_its_schedules_work_beside_it() -> None:
    schedule = lightgbm.reset_parameter(learning_rate=lambda round_: 0.5 / (round_ + 1))
    callback = LightGBMCallback(ModelCheckpoint("m"), verbose=0)
    train(callback, 4, others=[schedule])

    assert callback.run.history["learning_rate"] == pytest.approx([0.5, 0.25, 0.5 / 3, 0.125])


def test_an_error_of_another_callback_ends_the_run() -> None:
    def fails(env: Any) -> None:
        raise ValueError("full")

    callback = LightGBMCallback(ModelCheckpoint("m"), verbose=0)
    with pytest.raises(ValueError, match="full"):
        train(callback, others=[fails])
    first = callback.run
    train(callback, 2)

    assert first.error is not None
    assert callback.run.result.epochs == 2


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


def test_nan_is_noticed() -> None:
    callback = LightGBMCallback(TerminateOnNaN(), verbose=0)

    def nothing(predicted: Any, held: Any) -> tuple[str, float, bool]:
        return "mine", float("nan"), False

    train(callback, 5, {"metric": "None"}, feval=nothing)

    assert callback.run.result.epochs == 1
    assert "mine" in callback.run.result.reason


def test_ctrl_c_ends_in_order() -> None:
    """The files are closed, and a resumed training is exact."""
    killed = LightGBMCallback([ModelCheckpoint("m"), TensorBoard("logs"), Interrupts()], verbose=0)
    assert interrupted(killed, lambda: train(killed)) == 0
    assert "SIGINT" in Path("journal.jsonl").read_text()
    again = LightGBMCallback([ModelCheckpoint("m"), TensorBoard("logs")], resume="auto", verbose=0)
    assert train(again, init_model=again.init_model).num_trees() == ROUNDS
    whole = LightGBMCallback(verbose=0)
    train(whole)
    assert again.run.history == whole.run.history


def test_no_line_is_logged_without_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        train(LightGBMCallback(callbacks(), verbose=0))

    assert caplog.text == ""
