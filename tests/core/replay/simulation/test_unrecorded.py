"""Shares of the training: where each is reached at a recorded moment, a replay decides as the run; else it says so."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Callback, Run, SettingsError
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau
from trainbus.plugins.frequency import Frequency
from trainbus.replay import Recording, read, replay, sweep
from trainbus.replay.libraries.settings import find_library
from trainbus.testing import LineSubject

from ..recorded import FOUND, by_steps, recording

Loop = Literal["epochs", "batches", "steps"]
LOSSES = [3, 2, 1.5, 1.4, 1.5, 1.6, 1.7, 1.3, 1.5, 1.6]


def live(loop: Loop, losses: list[Any], callbacks: list[Callback], *, batches: int = 3) -> tuple[Run, Recording]:
    """Train with these values of val_loss, and return the run and its recording."""
    path = Path("journal.jsonl")
    for each in Path().iterdir():  # of an earlier example
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    values, count = iter(losses), len(losses)
    with Run(LineSubject(), [*callbacks, Journal(str(path))], verbose=0) as run:
        if loop == "steps":
            for _ in run.steps(range(batches), batches * count, validate_every=batches):
                if run.validation_due:
                    with run.validation():
                        run.log(loss=next(values))
        else:
            for _ in run.epochs(count):
                for _ in run.batches(range(batches)) if loop == "batches" else ():
                    pass
                run.log(val_loss=next(values))
    return run, read(str(path))


def decided(run: Run) -> list[tuple[int, str]]:
    return sorted((epoch, action.kind) for epoch, actions in run.result.decisions for action in actions)


def assert_replay_decides_as(run: Run, recorded: Recording, callbacks: list[Callback]) -> None:
    result = replay([recorded], callbacks)
    assert [note for note in result.notes if not note.endswith("patience counts its values.")] == []
    (outcome,) = result.outcomes
    simulated = sorted((each.epoch, each.action) for each in outcome.decisions if each.action != "restore")
    assert simulated == decided(run)


@pytest.mark.parametrize("loop", ["epochs", "batches", "steps"])
@pytest.mark.parametrize(
    "share", ["10%", "30%", *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ("20%", "50%", "100%"))]
)
@pytest.mark.parametrize(
    "callbacks",
    [
        [EarlyStopping(patience=2)],
        [EarlyStopping(patience=1, start_from_epoch=0, min_steps=12)],
        [ModelCheckpoint("m-{step}")],
        [ModelCheckpoint("m-best", save_best_only=True)],
        [ModelCheckpoint("m-{step}", keep=2)],
        [ReduceLROnPlateau(patience=1, factor=0.5)],
        [EarlyStopping(patience=3), ModelCheckpoint("m-{step}", keep_last=2)],
    ],
    ids=lambda each: "-".join(type(callback).__name__ for callback in each),
)
def test_shares_that_end_with_epochs_are_replayed(loop: Any, share: str, callbacks: list[Callback]) -> None:
    """In each kind of loop, for each callback."""
    name = {EarlyStopping: "every", ReduceLROnPlateau: "every", ModelCheckpoint: "save_freq"}
    own = [each.model_copy(update={name[type(each)]: share}) for each in callbacks]
    run, recorded = live(loop, LOSSES, own)
    shown = [type(each).model_validate(each.model_dump()) for each in own]
    assert_replay_decides_as(run, recorded, shown)


values = st.sampled_from([0.0, 0.5, 1.0, 1.5]) | st.none() | st.just(float("nan"))
shares = st.sampled_from(["5%", "10%", "12.5%", "20%", "25%", "33%", "33.3%", "50%", "75%", "100%"])


@given(
    st.sampled_from(["epochs", "batches", "steps"]),
    st.lists(values, min_size=1, max_size=12),
    shares,
    st.integers(0, 2),
    st.sampled_from(["older", "newer"]),
    st.sampled_from([{}, {"keep": 1}, {"keep": 2, "keep_last": 1}, {"keep_last": 2}, {"save_best_only": True}]),
    st.integers(1, 4),
)
def test_a_replay_decides_as_the_live_run_or_says_that_it_cannot(
    loop: Any, losses: list[Any], share: str, patience: int, ties: Any, kept: dict[str, Any], batches: int
) -> None:
    """For any share, number of epochs and number of batches."""
    if all(each is None for each in losses):
        return
    callbacks: list[Callback] = [
        ReduceLROnPlateau(every=share, patience=patience, ties=ties, factor=0.5),
        ModelCheckpoint("m-{step}-{epoch}" if loop != "steps" else "m-{step}", save_freq=share, **kept),
        EarlyStopping(every=share, patience=patience + 1, ties=ties),
    ]
    run, recorded = live(loop, losses, callbacks, batches=batches)
    result = replay([recorded], callbacks)
    lacking = [each for each in result.notes if "nothing is recorded" in each]
    if not lacking:
        assert_replay_decides_as(run, recorded, callbacks)
    elif len(lacking) == 1:  # a model is saved twice in an epoch: as the last one, and to be compared
        assert {"keep", "keep_last"} <= set(kept)
        assert loop == "batches"
    else:
        assert len(lacking) == 3
        assert not result.outcomes[0].decisions
        assert loop != "epochs"


def test_a_run_without_batches_reaches_each_share_at_the_end_of_an_epoch() -> None:
    """Also a share that is no whole number of epochs."""
    callbacks: list[Callback] = [ModelCheckpoint("m-{epoch}", save_freq="10%")]
    run, recorded = live("epochs", [*FOUND], callbacks)
    assert_replay_decides_as(run, recorded, callbacks)
    (outcome,) = replay([recorded], callbacks).outcomes
    assert [each + 1 for each in outcome.kept] == [2, 3, 5, 6, 7, 9, 10, 12, 13, 14]


@pytest.mark.parametrize("loop", ["epochs", "batches", "steps"])
@pytest.mark.parametrize(
    "given",
    [
        {"every": "10%"},
        {"every": "10%", "patience": 2},
        {"every": "20%", "start_from_epoch": 0, "smoothing": "median 3"},
        {"every": "50%", "min_delta": 0.1, "min_delta_mode": "rel"},
        {"every": "30%", "patience": 1},
        {"every": "100%"},
    ],
    ids=str,
)
def test_a_sweep_with_looks_at_recorded_shares_equals_its_replay(loop: Any, given: dict[str, Any]) -> None:
    """As with all other shared options."""
    _, recorded = live(loop, LOSSES, [])
    axes: dict[str, Any] = {"patience": [1, 2, 3], "min_delta": [0, 0.3], "smoothing": [None], "start_from_epoch": [0]}
    found = sweep([recorded], fixed=given, **{name: axes[name] for name in axes if name not in given})
    assert found.notes == ()
    for number, policy in enumerate(found.grid):
        callback = policy.callback("val_loss", "min", find_library("trainbus"), found.fixed)
        (outcome,) = replay([recorded], callback).outcomes
        assert found.stopped[number].tolist() == [outcome.stop.epoch if outcome.stop else -1]


def planned(run: Recording, total: int | None = 10, steps: int | None = 4) -> Recording:
    """Return a recording of a run that planned so many epochs, each with so many steps."""
    known = None if steps is None else steps * (run.epochs + 1)
    return replace(run, planned=total, steps=known)


TEN = recording(LOSSES)


@pytest.mark.parametrize(
    ("runs", "option", "words"),
    [
        ([TEN], "10%", "is a part of the planned epochs, whose number is not recorded, or was changed by a resume"),
        (
            [by_steps(TEN)],
            "10%",
            "is a part of the planned steps, whose number is not recorded, or was changed by a resume",
        ),
        ([planned(TEN)], "25%", "may {act} inside epochs, of which nothing is recorded"),
        ([planned(TEN, steps=None)], "25%", "may {act} inside epochs, of which nothing is recorded"),
        ([planned(TEN, 14)], "10%", "may {act} inside epochs, of which nothing is recorded"),
        ([replace(by_steps(TEN), planned=2500)], "5%", "may {act} between validations, of which nothing is recorded"),
        ([replace(by_steps(TEN), planned=2600)], "10%", "may {act} between validations, of which nothing is recorded"),
        ([planned(TEN), replace(planned(TEN, 15), name="b")], "10%", "may {act} inside epochs in b, of which nothing"),
        (
            [planned(TEN), replace(TEN, name="b")],
            "10%",
            "is a part of the planned epochs, whose number .* by a resume in b",
        ),
        ([planned(recording(LOSSES, first_epoch=3), 20)], "10%", "may {act} inside epochs, of which nothing"),
        ([planned(TEN)], "10 steps", "{act}s inside epochs, of which nothing is recorded"),
        ([by_steps(TEN)], "1 hour", "{act}s between validations, of which nothing is recorded"),
    ],
)
def test_a_share_that_may_be_reached_elsewhere_is_noted(runs: list[Recording], option: str, words: str) -> None:
    """In a replay; a sweep refuses it."""
    callbacks: list[Callback] = [
        EarlyStopping(every=option),
        ReduceLROnPlateau(every=option),
        ModelCheckpoint("m-{step}", save_freq=option),
    ]
    result = replay(runs, callbacks)
    notes = [each for each in result.notes if "recorded" in each]
    for callback, act, note in zip(callbacks, ["look", "look", "save"], notes, strict=True):
        name = "save_freq" if act == "save" else "every"
        expected = f"{type(callback).__name__}: {name}='{option}' {words.replace('{act}', act)}"
        assert re.match(expected, note), (expected, note)
    assert not result.outcomes[-1].decisions
    assert all(each.decisions for each in result.outcomes[:-1])
    with pytest.raises(
        SettingsError, match=f"^fixed: every='{option}' {words.replace('{act}', 'look')}.*leave it out$"
    ):
        sweep(runs, fixed=callbacks[0])


@pytest.mark.parametrize(
    ("run", "share", "due"),
    [
        (planned(TEN), "30%", [2, 5, 8]),
        (planned(TEN, 20), "5%", list(range(10))),
        (planned(TEN, 30), "100%", []),
        (planned(TEN, 30), "33%", None),
        (planned(TEN, 31), "50%", []),
        (planned(TEN, steps=0), "25%", [2, 4, 7, 9]),
        (planned(TEN, steps=0), "0.000001%", list(range(10))),
        (planned(TEN, 10**15), "0.000001%", []),
        (replace(by_steps(TEN), planned=2500), "20%", [1, 3, 5, 7, 9]),
        (replace(by_steps(TEN), planned=5000), "7.5%", None),
        (replace(by_steps(TEN), planned=5000), "10%", [1, 3, 5, 7, 9]),
        (replace(by_steps(TEN, 1), planned=10), "0.5%", list(range(10))),
    ],
)
def test_the_moments_at_which_a_share_is_due(run: Recording, share: str, due: list[int] | None) -> None:
    """None if one of them is not recorded."""
    found = run.due(Frequency.parse(share))
    assert (None if found is None else np.flatnonzero(found).tolist()) == due


@pytest.mark.parametrize(
    ("by", "options", "limits"),
    [("torch", {}, "eps=1e-08 ends"), ("torch", {"min_lr": 0.01}, "min_lr=0.01 and eps=1e-08 end"),
     ("torch", {"eps": 0}, None), ("keras", {"min_lr": 0.01}, "min_lr=0.01 ends"), ("keras", {}, None),
     ("trainbus", {"min_lr": 0.01}, "min_lr=0.01 ends"), ("trainbus", {}, None)],
)  # fmt: skip
def test_the_bounds_of_a_rate_that_is_not_recorded_are_unknown(by: str, options: dict[str, Any], limits: str) -> None:
    """Real rules stop cutting there, and a note says that the replay does not."""
    settings = find_library(by).plateau.settings
    runs = [recording({"val_loss": FOUND, "lr": [0.1] * len(FOUND)}, "a"), recording(FOUND, "b")]
    for some, where in ((runs, " in b"), (runs[1:], ""), (runs[:1], None)):
        notes = [each for each in replay(some, settings(patience=2, **options), by=by).notes if "rate" in each]
        expected = f"ReduceLROnPlateau: the learning rate is not recorded{where}, so that {limits} no cuts there."
        assert notes == ([] if limits is None or where is None else [expected])
