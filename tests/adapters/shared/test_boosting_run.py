"""The runs of a boosting library; tests of XGBoost and LightGBM train real ones."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from trainbus import LoopError, Run, SettingsError
from trainbus.adapters.shared.boosting_library import BoostingLibrary
from trainbus.adapters.shared.boosting_run import BoostingRun
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import EventRecorder, LineSubject

LOSSES = [5.0, 4.0, 4.5, 4.4, 3.0, 3.1, 3.2, 3.3]


def fit(function: Callable[[], Run]) -> Run:
    return function()


LIBRARY = BoostingLibrary(fit, "Callback", "this Callback", "first_model", MetricAdvice())


def rounds(*callbacks: Any, **options: Any) -> BoostingRun:
    return BoostingRun(LIBRARY, list(callbacks), None, None, {"verbose": 0, **options}, LineSubject())


def trained(boosting: BoostingRun, number: int | None = len(LOSSES), until: int = len(LOSSES)) -> Run:
    boosting.begin(LineSubject())
    boosting.plan(number)
    for loss in LOSSES[boosting.run.state.epochs_finished : until]:
        if not boosting.begin_round():
            break
        boosting.end_round({"train": {"rmse": loss - 1}, "held out": {"rmse": loss}})
    boosting.end()
    return boosting.run


def test_each_round_is_an_epoch_of_one_batch() -> None:
    recorder = EventRecorder()
    run = trained(rounds(recorder))

    assert run.history["val_loss"] == LOSSES
    assert run.history["loss"] == [loss - 1 for loss in LOSSES]
    assert run.step == len(LOSSES)
    hooks = [event.hook for event in recorder.events if event.hook not in ("on_train_begin", "on_train_end")]
    assert hooks == [
        "on_epoch_begin",
        "on_batch_begin",
        "on_batch_end",
        "on_validation_begin",
        "on_validation_end",
        "on_epoch_end",
    ] * len(LOSSES)


@pytest.mark.parametrize("patience", range(4))
def test_it_stops_as_a_plain_loop(patience: int) -> None:
    stop = EarlyStopping(patience=patience)
    with Run(callbacks=stop, verbose=0) as run:
        for epoch in run.epochs(len(LOSSES)):
            run.log(val_loss=LOSSES[epoch])

    assert trained(rounds(stop)).result.reason == run.result.reason


@pytest.mark.parametrize("until", range(1, len(LOSSES)))
def test_a_library_that_ends_the_loop_has_stopped_the_run(until: int) -> None:
    boosting = rounds(ModelCheckpoint("m"))

    assert (
        trained(boosting, until=until).result.reason == f"another callback of {LIBRARY.module} has ended the training"
    )
    assert not trained(rounds(ModelCheckpoint("m"), resume="auto")).result.epochs > until


def test_the_planned_rounds_end_a_run_without_a_reason() -> None:
    boosting = rounds(ModelCheckpoint("m"))

    assert trained(boosting).result.reason == "all epochs done"
    assert trained(rounds(ModelCheckpoint("m"), resume="auto"), 5).result.epochs == len(LOSSES)


def test_a_resumed_run_ends_with_the_planned_round() -> None:
    boosting = rounds(ModelCheckpoint("m"))
    trained(boosting, 3, 3)
    again = rounds(ModelCheckpoint("m"), resume="auto")

    assert trained(again, 6).result.epochs == 6


def test_a_given_state_counts_the_further_rounds() -> None:
    state = trained(rounds(), 3, 3).state_dict()
    again = rounds(resume=state)

    assert trained(again, 2).result.epochs == 5
    assert again.continues_state


def test_without_a_run_what_to_do_is_said() -> None:
    with pytest.raises(LoopError, match=r"it begins in \w+\.train\(\.\.\., callbacks=\[this Callback\]\)"):
        _ = rounds().run


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_have_the_settings_and_no_run(copied: Any) -> None:
    boosting = rounds(EarlyStopping(patience=0))
    trained(boosting)
    other = copied(boosting)

    assert other.driver is None
    assert trained(other).history == boosting.run.history


@pytest.mark.parametrize("name", ["resum", "verbos", "epochs", "run_ids", "hparam"])
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"Callback: unknown argument '{name}'"):
        rounds(**{name: 1})


def test_an_open_run_is_ended_by_the_next_training() -> None:
    boosting = rounds()
    boosting.begin(LineSubject())
    boosting.plan(3)
    boosting.begin_round()
    first = boosting.run
    trained(boosting, 2, 2)

    assert isinstance(first.error, LoopError)
    assert boosting.run.result.epochs == 2


def test_the_generators_are_not_read_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round that was trained before is not trained again, so no round begins with the numbers of an earlier one."""
    read: list[object] = []
    monkeypatch.setattr("trainbus.engine.state_collector.get_rng_state", lambda subject: read.append(subject) or {})
    trained(rounds(EarlyStopping(patience=9)))

    assert not read
