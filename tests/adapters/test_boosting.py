"""XGBoost and LightGBM: trainings that are runs, stopped, cut, saved and resumed in the same way."""

from __future__ import annotations

import copy
import importlib
import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.interrupted import Interrupts, interrupted
from trainbus import LoopError, MissingCapability, MissingMetric, Run, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard, TerminateOnNaN
from trainbus.testing import check_binding

LIBRARIES = ["lightgbm", "xgboost"]
ROUNDS = 12


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    """Return the module that trains by a library."""
    pytest.importorskip(request.param)
    return importlib.import_module(f"tests.adapters.{request.param}.trainings")


def callbacks(*more: object, save_freq: Any = "epoch") -> list[Any]:
    return [
        EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True),
        ReduceLROnPlateau(monitor="val_loss", patience=0, factor=0.5),
        ModelCheckpoint("best", save_best_only=True),
        ModelCheckpoint("last-{epoch}", save_freq=save_freq, keep_last=2),
        *more,
    ]


# --- what the four behaviours decide


def plain_run(history: Mapping[str, Any], *listed: Any) -> Run:
    """Return a run of a plain loop over the same metrics."""
    with Run(callbacks=list(listed), verbose=0) as run:
        for epoch in run.epochs(ROUNDS):
            run.log({name: values[epoch] for name, values in history.items() if name != "learning_rate"})
    return run


def test_the_four_behaviours_act_and_decide_as_in_a_plain_loop(library: Any) -> None:
    callback = library.Binding([*callbacks(), TensorBoard("logs")], verbose=0)
    model = library.train(callback, 30)
    run = callback.run
    best = min(range(run.result.epochs), key=run.history["val_loss"].__getitem__)

    assert run.result.reason == plain_run(run.history, EarlyStopping(patience=3)).result.reason != ""
    assert library.size(model) == best + 1 < run.result.epochs
    assert run.history["learning_rate"][-1] < 0.5 == run.history["learning_rate"][0]
    assert list(Path("logs").rglob("events.*"))
    assert library.content(library.read(library.SAVED)) == library.content(model)


@pytest.mark.parametrize("patience", range(5))
def test_the_stop_is_that_of_a_plain_loop(library: Any, patience: int) -> None:
    history = {"val_loss": library.losses()}
    stop = EarlyStopping(patience=patience)
    run = library.run_of(library.Binding(stop, verbose=0))

    assert run.result.reason == plain_run(history, stop).result.reason
    assert run.history["val_loss"] == history["val_loss"][: run.result.epochs]


# --- names


def names(library: Any, metrics: list[str], **options: Any) -> set[str]:
    run = library.run_of(library.Binding(verbose=0, **options), 1, {library.METRICS: metrics})
    return {name for name in run.history if name != "learning_rate"}


def test_the_last_metric_is_the_loss_if_lower_is_better(library: Any) -> None:
    loss, error = library.LOSS, library.ERROR

    assert names(library, [loss]) == {loss, "loss", f"val_{loss}", "val_loss"}
    assert names(library, [loss, "auc"]) == {loss, "auc", f"val_{loss}", "val_auc"}
    assert "val_loss" in names(library, ["auc", error])
    assert names(library, ["auc"], data="first") == {"val_auc", "second_auc"}


def test_the_loss_is_the_metric_that_is_named(library: Any) -> None:
    error = library.ERROR
    run = library.run_of(library.Binding(metric=error, verbose=0), 2, {library.METRICS: [error, "auc"]})

    assert run.history["val_loss"] == run.history[f"val_{error}"]
    assert run.history["loss"] == run.history[error]


# --- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "secnd"}, "data='secnd' is not evaluated; did you mean 'second'"),
        ({"metric": "auk"}, "metric='auk' is not computed; did you mean 'auc'"),
        ({"metric": "auc"}, "higher is better; write monitor='val_auc'"),
    ],
)
def test_wrong_options_are_refused_in_the_first_round(library: Any, options: dict[str, Any], message: str) -> None:
    rounds: list[int] = []
    with pytest.raises(SettingsError, match=message):
        others = [library.each_round(lambda _, round_: rounds.append(round_))]
        library.train(library.Binding(verbose=0, **options), others=others)

    assert len(rounds) <= 1


@pytest.mark.parametrize("monitor", ["val_los", "val_accuracy", "auk"])
def test_a_wrong_metric_is_refused_in_the_first_round(library: Any, monitor: str) -> None:
    message = {"val_los": "did you mean 'val_loss'", "val_accuracy": library.ADVICE[1], "auk": "'auc'"}[monitor]
    callback = library.Binding(EarlyStopping(monitor=monitor, mode="min"), verbose=0)
    with pytest.raises(MissingMetric, match=message):
        library.train(callback)

    assert callback.run.result.epochs == 1


def test_a_missing_validation_set_is_named(library: Any) -> None:
    with pytest.raises(MissingMetric, match=library.ADVICE[0]):
        library.train(library.Binding(EarlyStopping(), verbose=0), names=())


@pytest.mark.parametrize(
    "make",
    [
        lambda binding: binding(EarlyStopping, verbose=0),
        lambda binding: binding([TensorBoard(histogram_freq=1), ModelCheckpoint("best")]),
        lambda binding: binding(ModelCheckpoint("best.pt")),
        lambda binding: binding(verbos=1),
        lambda binding: binding(resume=3),
        lambda binding: binding("EarlyStoping"),
    ],
)
def test_what_cannot_work_is_refused_before_the_training(library: Any, make: Callable[[Any], Any]) -> None:
    with pytest.raises((SettingsError, TypeError)):
        make(library.Binding)


def test_cross_validation_is_refused(library: Any) -> None:
    with pytest.raises(SettingsError, match=r"call \w+\.train for each fold, each time with a new \w+Callback"):
        library.cross_validate(library.Binding(verbose=0))


def test_without_a_training_there_is_no_run(library: Any) -> None:
    with pytest.raises(LoopError, match=r"it begins in \w+\.train\(\.\.\., callbacks=\[\*?this \w+Callback\]\)"):
        _ = library.Binding().run


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_keep_the_settings(library: Any, copied: Callable[[Any], Any]) -> None:
    callback = library.Binding(EarlyStopping(patience=0, monitor="val_auc"), data="first", verbose=0)
    other = copied(callback)
    with pytest.raises(LoopError):
        _ = other.run
    last = library.run_of(other)
    again = copied(other)

    assert library.run_of(again).history == last.history
    assert other.run is last


# --- resuming


def resumable(
    library: Any, save_freq: Any = "epoch", more: Mapping[str, Any] | None = None, rounds: int = ROUNDS
) -> Callable[[object, bool], Run]:
    def training(plugin: object, resume: bool) -> Run:
        listed = callbacks(plugin, save_freq=save_freq)
        callback = library.Binding(listed, resume="auto" if resume else None, verbose=0)
        library.resumed(callback, rounds, more)
        return callback.run

    return training


def test_a_killed_training_resumes_as_if_unbroken(library: Any) -> None:
    check_binding(resumable(library, rounds=4), at=["on_epoch_end"])


@pytest.mark.exhaustive
def test_each_kind_of_model_resumes_from_each_event(library: Any) -> None:
    for more in library.KINDS.values():
        check_binding(resumable(library, more=more))


@pytest.mark.exhaustive
@pytest.mark.parametrize("save_freq", [1, 2, "1 validations"])
def test_it_resumes_from_saves_inside_of_a_round(library: Any, save_freq: Any) -> None:
    check_binding(resumable(library, save_freq))


@pytest.mark.exhaustive
def test_it_resumes_by_the_way_of_the_library(library: Any) -> None:
    """A training continues from the library's own file, with the state of the run beside it."""

    def training(plugin: object, resume: bool) -> Run:
        state, model, rounds = None, None, ROUNDS
        if resume and Path("state").exists():
            saved, state = pickle.loads(Path("state").read_bytes())
            model = library.unpacked(saved)
            rounds -= library.size(model)
        callback = library.Binding(callbacks(plugin), resume=state, verbose=0)

        def save(model: Any, _: int) -> None:
            Path("state.new").write_bytes(pickle.dumps((library.packed(model), callback.run.state_dict())))
            Path("state.new").replace("state")

        # LightGBM refuses to train no round
        library.train(callback, max(rounds, 1), others=[library.each_round(save)], model=model)
        return callback.run

    check_binding(training)


def test_a_model_with_too_few_rounds_for_the_state_is_refused(library: Any) -> None:
    state = library.run_of(library.Binding(verbose=0), 3).state_dict()
    callback = library.Binding(resume=state, verbose=0)
    with pytest.raises(LoopError, match=r"after 3 rounds, but this training begins after 0; give \w+ the model of"):
        library.train(callback, 2)

    assert callback.run.error is not None


def test_a_finished_training_is_not_trained_again(library: Any) -> None:
    first = library.Binding(callbacks(), verbose=0)
    trained = library.train(first)
    again = library.Binding(callbacks(), resume="auto", verbose=0)
    model = library.resumed(again)

    assert again.run.history == first.run.history
    assert again.run.result.reason == first.run.result.reason
    assert library.content(model) == library.content(trained)


@pytest.mark.parametrize("rate", [0.5, 0.25])
def test_more_rounds_continue_a_training_that_was_not_stopped(library: Any, rate: float) -> None:
    more = {library.RATE: rate}
    library.train(library.Binding(ModelCheckpoint("m"), verbose=0), 4, more)
    again = library.Binding(ModelCheckpoint("m"), resume="auto", verbose=0)
    model = library.resumed(again, 9, more)

    assert library.content(model) == library.content(library.train(None, 9, more))
    assert again.run.result.epochs == library.size(model) == 9


def test_only_the_first_training_resumes(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    library.train(library.Binding(ModelCheckpoint("m"), verbose=0), 3)
    callback = library.Binding(ModelCheckpoint("m"), resume="auto", verbose=0)
    assert library.size(library.resumed(callback, 5)) == 5
    assert "was used in the first training" not in caplog.text

    library.resumed(callback, 2)

    assert "was used in the first training" in caplog.text
    assert len(callback.run.history["loss"]) == 2


def test_what_cannot_resume_exactly_is_said(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    for number, (more, said) in enumerate(library.SAMPLING):
        caplog.clear()
        library.train(library.Binding(ModelCheckpoint(f"{number}/m"), verbose=0), 3, more)
        assert "random generators" not in caplog.text
        library.resumed(library.Binding(ModelCheckpoint(f"{number}/m"), resume="auto", verbose=0), 5, more)

        assert (f"random generators: with {said}, the rounds after 3" in caplog.text) is bool(said)
        assert ("random generators" in caplog.text) is bool(said)


@pytest.mark.parametrize(("source", "rate"), [("checkpoint", 0.5), ("script", 0.25)])
def test_the_rate_of_the_checkpoint_or_of_the_script_is_used(
    library: Any, source: Any, rate: float, caplog: pytest.LogCaptureFixture
) -> None:
    library.train(library.Binding(ModelCheckpoint("m"), verbose=0), 2)
    callback = library.Binding(ModelCheckpoint("m"), resume="auto", resume_learning_rates=source, verbose=0)
    library.resumed(callback, 3, {library.RATE: 0.25})

    assert callback.run.history["learning_rate"] == [0.5, 0.5, rate]
    assert ("resume_learning_rates='script'" in caplog.text) is (source == "checkpoint")


# --- beside the library's own


def test_an_error_of_another_callback_ends_the_run(library: Any) -> None:
    def fails(model: Any, round_: int) -> None:
        raise ValueError("full")

    callback = library.Binding(ModelCheckpoint("m"), verbose=0)
    with pytest.raises(ValueError, match="full"):
        library.train(callback, others=[library.each_round(fails)])
    first = callback.run
    library.train(callback, 2)

    assert first.error is not None
    assert callback.run.result.epochs == 2


def test_nan_is_noticed(library: Any) -> None:
    callback = library.Binding(TerminateOnNaN(), verbose=0)
    library.train_on_nan(callback)

    assert callback.run.result.epochs == 1
    assert "mine" in callback.run.result.reason


def test_ctrl_c_ends_in_order(library: Any) -> None:
    """The files are closed, and a resumed training is exact."""
    killed = library.Binding([ModelCheckpoint("m"), TensorBoard("logs"), Interrupts()], verbose=0)
    assert interrupted(killed, lambda: library.train(killed)) == 0
    assert "SIGINT" in Path("journal.jsonl").read_text()
    again = library.Binding([ModelCheckpoint("m"), TensorBoard("logs")], resume="auto", verbose=0)

    assert library.size(library.resumed(again)) == ROUNDS
    assert again.run.history == library.run_of(library.Binding(verbose=0)).history


@pytest.mark.parametrize(("more", "changed"), [({"max_depth": 2}, "max_depth is 2, not "), ({}, "")])
def test_an_option_that_the_script_has_changed_is_named(
    library: Any, caplog: pytest.LogCaptureFixture, more: dict[str, Any], changed: str
) -> None:
    """The trees of the checkpoint were grown with the other one."""
    library.train(library.Binding(ModelCheckpoint("m"), verbose=0), 3)
    library.resumed(library.Binding(ModelCheckpoint("m"), resume="auto", verbose=0), 5, more)
    line = "the script has changed these options, which the checkpoint does not restore"
    assert (line in caplog.text) == bool(changed)
    assert changed in caplog.text


@pytest.mark.parametrize("first", [True, False])
def test_a_cut_beside_a_schedule_of_the_library_is_refused(library: Any, first: bool) -> None:
    """In whatever order they are listed; all else works beside it."""
    schedule = library.SCHEDULE
    callback = library.Binding(ReduceLROnPlateau(), verbose=0)
    with pytest.raises(MissingCapability, match=r"ReduceLROnPlateau needs .* but (xgboost|lightgbm)\.\S+ sets the"):
        library.train(None, 3, others=[schedule, *library.listed(callback)][:: 1 if first else -1])
    callback = library.Binding(EarlyStopping(patience=9), verbose=0)
    library.train(callback, 3, others=[schedule])
    assert callback.run.result.epochs == 3


def test_no_line_is_logged_without_a_reason(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        library.train(library.Binding(callbacks(), verbose=0))

    assert caplog.text == ""
