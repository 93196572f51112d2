"""XGBoost: trainings that are runs, stopped, cut, saved and resumed."""

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
from trainbus import CheckpointError, LoopError, MissingMetric, Run, SettingsError, UnreadableCheckpoint, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard, TerminateOnNaN
from trainbus.testing import check_binding, check_subject

xgboost = pytest.importorskip("xgboost")
from trainbus.adapters.xgboost import XGBoostCallback, XGBoostSubject  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 4)).astype("float32")
Y = (X.sum(1) + RANDOM.normal(size=90) > 0).astype(int)
PARAMS = {
    "objective": "binary:logistic",
    "eta": 0.5,
    "max_depth": 3,
    "nthread": 1,
    "eval_metric": ["auc", "logloss"],
    "verbosity": 0,
}
ROUNDS = 12
KINDS: dict[str, dict[str, Any]] = {
    "trees": {},
    "dart": {"booster": "dart"},
    "linear": {"booster": "gblinear", "updater": "coord_descent", "max_depth": None},
    "squares": {"objective": "reg:squarederror", "eval_metric": ["rmse"]},
    "classes": {"objective": "multi:softprob", "num_class": 3, "eval_metric": ["mlogloss"]},
    "forest": {"num_parallel_tree": 2},
}
"""Kinds of models by what they add to the parameters."""


def params(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in {**PARAMS, **more}.items() if value is not None}


def data() -> tuple[Any, Any]:
    return xgboost.DMatrix(X[:60], Y[:60]), xgboost.DMatrix(X[60:], Y[60:])


def train(callback: Any, rounds: int = ROUNDS, more: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """Train as users do, with the training data first in ``evals``."""
    training, held_out = data()
    listed = callback if isinstance(callback, list) else [callback]
    given = {"evals": [(training, "train"), (held_out, "held_out")], "verbose_eval": False, **options}
    return xgboost.train(params(**(more or {})), training, rounds, callbacks=listed, **given)


def callbacks(*more: object, save_freq: Any = "epoch") -> list[Any]:
    return [
        EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True),
        ReduceLROnPlateau(monitor="val_loss", patience=0, factor=0.5),
        ModelCheckpoint("best", save_best_only=True),
        ModelCheckpoint("last-{epoch}", save_freq=save_freq, keep_last=2),
        *more,
    ]


# --- the subject


@pytest.mark.parametrize("kind", KINDS)
def test_the_subject_keeps_the_contract(kind: str) -> None:
    """Files and snapshots restore each kind of model, which trains on as before."""
    held = data()[0]

    def step(subject: XGBoostSubject) -> list[float]:
        losses = []
        for number in range(2):
            subject.booster.update(held, number)
            losses.append(float(subject.booster.eval(held).rpartition(":")[2]))
        return losses

    check_subject(lambda: XGBoostSubject(xgboost.Booster(params(**KINDS[kind]), [held])), step)


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda _: b"{",
    "text": lambda _: b"no model",
    "a half": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-3],
    "other JSON": lambda _: b'{"a": 1}',
    "a list": lambda _: b"[]",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_and_changes_nothing(damage: str) -> None:
    """An empty one too, of which XGBoost would end the process."""
    held = data()[0]
    subject = XGBoostSubject(xgboost.train(params(), held, 2))
    before = bytes(subject.booster.save_raw())
    Path("model.ubj").write_bytes(DAMAGED[damage](before))

    with pytest.raises(UnreadableCheckpoint, match=r"model\.ubj"):
        subject.load(Path("model.ubj"))

    assert bytes(subject.booster.save_raw()) == before


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"objective": "reg:squarederror", "eval_metric": "rmse"}, "objective"),
        ({"objective": "multi:softprob", "num_class": 3, "eval_metric": "mlogloss"}, "objective"),
        ({"booster": "dart"}, "booster"),
        ({"booster": "gblinear", "max_depth": None}, "booster"),
    ],
)
def test_a_file_of_another_model_is_refused(other: dict[str, Any], what: str) -> None:
    held = data()[0]
    XGBoostSubject(xgboost.train(params(**other), held, 1)).save(Path("other.ubj"), weights_only=False)

    with pytest.raises(CheckpointError, match=f"other.ubj.*another model: .*{what}"):
        XGBoostSubject(xgboost.train(params(), held, 1)).load(Path("other.ubj"))


def test_a_file_of_a_model_of_other_data_is_refused() -> None:
    narrow = xgboost.DMatrix(X[:, :2], Y)
    XGBoostSubject(xgboost.train(params(), narrow, 1)).save(Path("narrow.json"), weights_only=False)

    with pytest.raises(CheckpointError, match="features 2 and not 4"):
        XGBoostSubject(xgboost.train(params(), data()[0], 1)).load(Path("narrow.json"))


# --- what the four behaviours decide


def plain_run(history: Mapping[str, Any], *listed: Any) -> Run:
    """Return a run of a plain loop over the same metrics."""
    with Run(callbacks=list(listed), verbose=0) as run:
        for epoch in run.epochs(ROUNDS):
            run.log({name: values[epoch] for name, values in history.items() if name != "learning_rate"})
    return run


def test_the_four_behaviours_act_and_decide_as_in_a_plain_loop() -> None:
    callback = XGBoostCallback([*callbacks(), TensorBoard("logs")], verbose=0)
    booster = train(callback, 30)
    run = callback.run

    stop = EarlyStopping(monitor="val_loss", patience=3)
    assert run.result.reason == plain_run(run.history, stop).result.reason != ""
    best = min(range(run.result.epochs), key=run.history["val_loss"].__getitem__)
    assert booster.num_boosted_rounds() == best + 1 < run.result.epochs
    assert run.history["learning_rate"][-1] < 0.5 == run.history["learning_rate"][0]
    assert Path("best.ubj").is_file()
    assert list(Path("logs").rglob("events.*"))
    saved = xgboost.Booster(model_file="best.ubj")
    assert saved.predict(data()[1]).tolist() == booster.predict(data()[1]).tolist()
    assert float(booster.eval(data()[1]).rpartition(":")[2]) == pytest.approx(min(run.history["val_loss"]), abs=1e-5)


@pytest.mark.parametrize("patience", range(5))
def test_the_stop_is_that_of_a_plain_loop(patience: int) -> None:
    recorded: dict[str, Any] = {}
    train([], evals_result=recorded)
    history = {"val_loss": recorded["held_out"]["logloss"]}
    stop = EarlyStopping(patience=patience)
    callback = XGBoostCallback(stop, verbose=0)
    train(callback)

    assert str(callback.run.result.reason) == plain_run(history, stop).result.reason
    assert callback.run.history["val_loss"] == history["val_loss"][: callback.run.result.epochs]


def test_the_classifier_takes_it() -> None:
    callback = XGBoostCallback([EarlyStopping(patience=1), ModelCheckpoint("best")], verbose=0)
    model = xgboost.XGBClassifier(n_estimators=40, learning_rate=0.5, n_jobs=1, callbacks=[callback])
    x, y = X[:60], Y[:60]
    model.fit(x, y, eval_set=[(x, y), (X[60:], Y[60:])], verbose=False)

    assert list(callback.run.history) == ["learning_rate", "logloss", "loss", "val_logloss", "val_loss"]
    assert "did not improve" in callback.run.result.reason
    assert model.get_booster().num_boosted_rounds() == callback.run.result.epochs


# --- names


def names(callback: XGBoostCallback, **options: Any) -> list[str]:
    train(callback, 1, **options)
    return [name for name in callback.run.history if name != "learning_rate"]


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
    held_out = data()[1]
    sets = {"evals": [(held_out, "a"), (held_out, "b")]}
    names(XGBoostCallback(verbose=0), **sets)
    assert "those of 'b', the last of 'a', 'b'; data='a' chooses another one" in caplog.text
    caplog.clear()

    assert {"val_auc", "val_logloss", "b_auc"} < {*names(XGBoostCallback(data="a", verbose=0), **sets)}
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("metrics", "loss"),
    [(["logloss"], True), (["logloss", "auc"], False), (["auc", "error"], True), (["mae", "rmse"], True)],
)
def test_the_last_metric_is_the_loss_if_lower_is_better(metrics: list[str], loss: bool) -> None:
    found = names(XGBoostCallback(verbose=0), more={"eval_metric": metrics})

    assert ("val_loss" in found) is loss


def test_the_loss_is_the_metric_that_is_named() -> None:
    callback = XGBoostCallback(metric="error", verbose=0)
    train(callback, 2, {"eval_metric": ["error", "auc"]})

    assert callback.run.history["val_loss"] == callback.run.history["val_error"]
    assert callback.run.history["loss"] == callback.run.history["error"]


# --- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "heldout"}, "data='heldout' is not evaluated; did you mean 'held_out'"),
        ({"metric": "loglos"}, "metric='loglos' is not computed; did you mean 'logloss'"),
        ({"metric": "auc"}, "higher is better; write monitor='val_auc'"),
    ],
)
def test_wrong_options_are_refused_in_the_first_round(options: dict[str, Any], message: str) -> None:
    rounds: list[int] = []
    callback = XGBoostCallback(verbose=0, **options)
    with pytest.raises(SettingsError, match=message):
        train([Counting(rounds), callback])

    assert len(rounds) <= 1


class Counting(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
    """Notes each round."""

    def __init__(self, rounds: list[int]) -> None:
        self.rounds = rounds

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self.rounds.append(epoch)
        return False


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("val_los", "did you mean 'val_loss'"),
        ("val_loglos", "did you mean 'val_logloss'"),
        ("val_accuracy", "write it into eval_metric of the parameters, or monitor"),
        ("auk", "'auc'"),
    ],
)
def test_a_wrong_metric_is_refused_in_the_first_round(monitor: str, message: str) -> None:
    callback = XGBoostCallback(EarlyStopping(monitor=monitor, mode="min"), verbose=0)
    with pytest.raises(MissingMetric, match=message):
        train(callback)

    assert callback.run.result.epochs == 1


def test_a_missing_validation_set_is_named() -> None:
    with pytest.raises(MissingMetric, match=r"give xgboost\.train evals="):
        train(XGBoostCallback(EarlyStopping(), verbose=0), evals=[(data()[0], "train")])


@pytest.mark.parametrize(
    "make",
    [
        lambda: XGBoostCallback(EarlyStopping, verbose=0),
        lambda: XGBoostCallback(TensorBoard(histogram_freq=1), ModelCheckpoint("best")),
        lambda: XGBoostCallback(ModelCheckpoint("best.pt")),
        lambda: XGBoostCallback(verbos=1),
        lambda: XGBoostCallback(resume=3),
        lambda: XGBoostCallback("EarlyStoping"),
    ],
)
def test_what_cannot_work_is_refused_before_the_training(make: Callable[[], Any]) -> None:
    with pytest.raises((SettingsError, TypeError)):
        make()


def test_cross_validation_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"call xgboost\.train for each fold"):
        xgboost.cv(params(), data()[0], 2, callbacks=[XGBoostCallback(verbose=0)])


def test_without_a_training_there_is_no_run() -> None:
    with pytest.raises(LoopError, match=r"it begins in xgboost\.train"):
        _ = XGBoostCallback().run


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_keep_the_settings(copied: Callable[[Any], Any]) -> None:
    callback = XGBoostCallback(EarlyStopping(patience=0, monitor="val_auc"), data="train", verbose=0)
    other = copied(callback)
    with pytest.raises(LoopError):
        _ = other.run
    train(other)
    last = other.run

    assert last.history["val_auc"][-1] > 0.8
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
        callback = XGBoostCallback(listed, resume="auto" if resume else None, verbose=0)
        train(callback, rounds, more)
        return callback.run

    return training


class SavesItself(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
    """Writes the model by XGBoost's own function, and the state of the run beside it."""

    def __init__(self, callback: XGBoostCallback) -> None:
        self.callback = callback

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        model.save_model("own.ubj.new.ubj")
        Path("state.new").write_bytes(
            pickle.dumps((Path("own.ubj.new.ubj").read_bytes(), self.callback.run.state_dict()))
        )
        Path("state.new").replace("state")
        return False


def own_way(plugin: object, resume: bool) -> Run:
    """Train, and continue by ``xgb_model=`` with the further rounds."""
    state, model, rounds = None, None, ROUNDS
    if resume and Path("state").exists():
        raw, state = pickle.loads(Path("state").read_bytes())
        model = xgboost.Booster(model_file=bytearray(raw))
        rounds -= model.num_boosted_rounds()
    callback = XGBoostCallback(callbacks(plugin), resume=state, verbose=0)
    train([callback, SavesItself(callback)], rounds, xgb_model=model)
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
def test_it_resumes_by_the_way_of_xgboost() -> None:
    check_binding(own_way)


def test_a_finished_training_is_not_trained_again() -> None:
    first = XGBoostCallback(callbacks(), verbose=0)
    trained = train(first)
    callback = XGBoostCallback(callbacks(), resume="auto", verbose=0)
    booster = train(callback)

    assert callback.run.history == first.run.history
    assert callback.run.result.reason == first.run.result.reason
    assert booster.save_raw() == trained.save_raw()


def test_more_rounds_continue_a_training_that_was_not_stopped() -> None:
    def through(rounds: int, **options: Any) -> Any:
        callback = XGBoostCallback(ModelCheckpoint("m"), verbose=0, **options)
        return train(callback, rounds), callback.run

    through(4)
    booster, run = through(9, resume="auto")
    whole = train([], 9)

    assert booster.save_raw("json")[-200:] == whole.save_raw("json")[-200:]
    assert booster.predict(data()[1]).tolist() == whole.predict(data()[1]).tolist()
    assert run.result.epochs == 9


def test_only_the_first_training_resumes(caplog: pytest.LogCaptureFixture) -> None:
    train(XGBoostCallback(ModelCheckpoint("m"), verbose=0), 3)
    callback = XGBoostCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    assert train(callback, 5).num_boosted_rounds() == 5
    assert len(callback.run.history["loss"]) == 5
    assert "was used in the first training" not in caplog.text

    train(callback, 2)

    assert "was used in the first training" in caplog.text
    assert len(callback.run.history["loss"]) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"subsample": 0.5}, "subsample=0.5"),
        ({"colsample_bytree": 0.5}, "colsample_bytree=0.5"),
        ({"booster": "dart", "rate_drop": 0.25}, "rate_drop=0.25"),
        ({"colsample_bynode": 0.75}, "colsample_bynode=0.75"),
        ({}, ""),
    ],
)
def test_what_cannot_resume_exactly_is_said(more: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture) -> None:
    train(XGBoostCallback(ModelCheckpoint("m"), verbose=0), 3, more)
    assert "random generator" not in caplog.text
    train(XGBoostCallback(ModelCheckpoint("m"), resume="auto", verbose=0), 5, more)

    assert ("random generator: with " + said in caplog.text) is bool(said)


def test_the_rate_of_the_checkpoint_or_of_the_script_is_used(caplog: pytest.LogCaptureFixture) -> None:
    def rates(eta: float, **options: Any) -> list[float]:
        callback = XGBoostCallback(ModelCheckpoint(f"m{len(options)}"), verbose=0, **options)
        train(callback, 2 + 2 * len(options), {"eta": eta})
        return [round(each, 6) for each in callback.run.history["learning_rate"]]

    rates(0.5)
    for name in Path().glob("m0*"):
        name.rename(name.name.replace("m0", "m1"))
    assert rates(0.25) == [0.25, 0.25]
    caplog.clear()
    train(XGBoostCallback(ModelCheckpoint("n"), verbose=0), 2)
    callback = XGBoostCallback(ModelCheckpoint("n"), resume="auto", verbose=0)
    train(callback, 3, {"eta": 0.25})
    assert "resume_learning_rates='script'" in caplog.text
    assert callback.run.history["learning_rate"][-1] == 0.5

    callback = XGBoostCallback(ModelCheckpoint("n"), resume="auto", resume_learning_rates="script", verbose=0)
    train(callback, 4, {"eta": 0.25})
    assert callback.run.history["learning_rate"][-1] == 0.25


# --- beside XGBoost's own


def test_its_own_callbacks_work_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    callback = XGBoostCallback(ModelCheckpoint("m"), verbose=0)
    booster = train(callback, 40, verbose_eval=1, early_stopping_rounds=1)
    result = callback.run.result

    assert booster.num_boosted_rounds() == result.epochs < 40
    assert result.reason == "another callback of xgboost has ended the training"
    assert capsys.readouterr().out.count("held_out-logloss") == result.epochs
    again = XGBoostCallback(ModelCheckpoint("m"), resume="auto", verbose=0)
    train(again, 40)
    assert again.run.history == callback.run.history


def test_its_monitor_prints_the_round_in_which_a_run_stops(capsys: pytest.CaptureFixture[str]) -> None:
    callback = XGBoostCallback(EarlyStopping(patience=0), verbose=0)
    train(callback, 40, verbose_eval=1)

    assert capsys.readouterr().out.count("held_out-logloss") == callback.run.result.epochs


def test_its_checkpoints_and_schedules_work_beside_it() -> None:
    schedule = xgboost.callback.LearningRateScheduler(lambda round_: 0.5 / (round_ + 1))
    saved = xgboost.callback.TrainingCheckPoint("own", interval=2)
    Path("own").mkdir()
    callback = XGBoostCallback(ModelCheckpoint("m"), verbose=0)
    train([callback, schedule, saved], 5)

    assert callback.run.history["learning_rate"] == pytest.approx([0.5, 0.5, 0.25, 0.5 / 3, 0.125])
    assert len(list(Path("own").iterdir())) >= 2


def test_an_error_of_another_callback_ends_the_run_at_the_next_training() -> None:
    class Fails(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            raise ValueError("full")

    callback = XGBoostCallback(ModelCheckpoint("m"), verbose=0)
    with pytest.raises(ValueError, match="full"):
        train([callback, Fails()])
    first = callback.run
    train(callback, 2)

    assert first.error is not None
    assert callback.run.result.epochs == 2


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


def test_nan_is_noticed() -> None:
    callback = XGBoostCallback(TerminateOnNaN(), verbose=0)

    def nothing(predicted: Any, held: Any) -> tuple[str, float]:
        return "mine", float("nan")

    train(callback, 5, custom_metric=nothing, more={"eval_metric": "logloss", "disable_default_eval_metric": 1})

    assert callback.run.result.epochs == 1
    assert "mine" in callback.run.result.reason


def test_ctrl_c_ends_in_order() -> None:
    """The files are closed, and a resumed training is exact."""
    killed = XGBoostCallback([ModelCheckpoint("m"), TensorBoard("logs"), Interrupts()], verbose=0)
    assert interrupted(killed, lambda: train(killed)) == 0
    assert "SIGINT" in Path("journal.jsonl").read_text()
    again = XGBoostCallback([ModelCheckpoint("m"), TensorBoard("logs")], resume="auto", verbose=0)
    assert train(again).num_boosted_rounds() == ROUNDS
    whole = XGBoostCallback(verbose=0)
    train(whole)
    assert again.run.history == whole.run.history


def test_no_line_is_logged_without_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        train(XGBoostCallback(callbacks(), verbose=0))

    assert caplog.text == ""
