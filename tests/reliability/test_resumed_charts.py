"""The charts of a run that was killed and resumed are those of the one that was not."""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorboardX  # noqa: F401 - once, for all processes that are forked

import trainbus.adapters.keras
import trainbus.adapters.sklearn
import trainbus.adapters.torch  # noqa: F401
from tests.plugins.event_readers import everything
from trainbus import Run
from trainbus.cli.explain import explain, read_run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import LineSubject

from .resuming import TRAININGS, Moment, Witness, callbacks, warm_up


def charted(name: str, folder: Path, settings: dict[str, Any], moments: list[Moment]) -> dict[Any, Any]:
    """Return the charts of a training that was killed at each of the events, then resumed."""
    warm_up(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, moment in enumerate([*moments, None]):
        child = os.fork()
        if not child:
            code = 1
            try:
                with (folder / "events").open("w") as file:
                    listed = [
                        TensorBoard(folder / "logs", **settings),
                        *callbacks(folder, batches=True),
                        Witness(file, moment),
                    ]
                    TRAININGS[name](listed, "auto" if number else None)
                code = 0
            except BaseException as error:  # noqa: BLE001 - the parent sees the exit code
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (0 if moment is None else -signal.SIGKILL)
    return everything(folder / "logs")


@pytest.mark.parametrize(
    ("name", "layout", "moments"),
    [
        ("torch", "keras", [Moment("epoch", 5)]),
        pytest.param(
            "torch",
            "keras",
            [Moment("checkpoint", 3), Moment("decision", 5), Moment("batch", 23)],
            marks=pytest.mark.exhaustive,
        ),
        pytest.param("keras", "keras", [Moment("batch", 23)], marks=pytest.mark.exhaustive),
        pytest.param("mlp", "lightning", [Moment("checkpoint", 3), Moment("batch", 8)], marks=pytest.mark.exhaustive),
        ("sgd", "slash", [Moment("decision", 2)]),
    ],
)
@pytest.mark.exhaustive
def test_whenever_it_is_killed_the_resumed_charts_are_those_of_the_uninterrupted_run(
    name: str, layout: str, moments: list[Moment], tmp_path: Path
) -> None:
    """Every scalar, histogram, picture and decision is there once, at its step, and nothing else is."""
    folder, settings = tmp_path / "run", {"layout": layout, "update_freq": 2, "histogram_freq": 2}
    uninterrupted = charted(name, folder, settings, [])
    assert len(uninterrupted) > 100
    for moment in moments:
        found = charted(name, folder, settings, [moment])
        assert sorted(set(found) ^ set(uninterrupted)) == [], moment
        assert found == uninterrupted, moment


def test_a_run_may_be_killed_many_times(tmp_path: Path) -> None:
    """However often it is killed, the charts grow as those of one run."""
    folder, settings = tmp_path / "run", {"update_freq": "batch"}
    uninterrupted = charted("sgd", folder, settings, [])
    moments = [Moment("batch", 9), Moment("checkpoint", 2), Moment("epoch", 2), Moment("decision", 1)]
    assert charted("sgd", folder, settings, moments) == uninterrupted


STOPS = EarlyStopping(patience=2, restore_best_weights=True)
SCORES = [3.0, 1.0, 2.0, 2.5, 4.0, 4.0]


def by_signal(folder: Path, *ends: tuple[int, int | None], kind: str = "SIGTERM") -> tuple[dict[Any, Any], list[str]]:
    """Return the charts and the story of a training that was asked to end in these epochs and batches, then resumed."""
    callbacks = [
        TensorBoard(str(folder / "logs"), hparams={"lr": 0.1}, update_freq=2),
        ModelCheckpoint(str(folder / "m-{epoch}"), keep_last=2),
        ReduceLROnPlateau(patience=1, factor=0.5),
        STOPS,
    ]
    for end in (*ends, None):
        subject = LineSubject(0.4)
        with (
            suppress(KeyboardInterrupt),
            Run(subject, callbacks, verbose=0, resume="auto", signals=("SIGTERM", "SIGINT")) as run,
        ):
            for epoch in run.epochs(6):
                for batch in run.batches(range(3)):
                    run.log(loss=subject.train(np.array([1.0]), np.array([float(epoch)])))
                    if end == (epoch, batch):
                        run._life.stop_requests.request(kind)
                with run.validation():
                    run.log(loss=SCORES[epoch])
                if end == (epoch, None):
                    run._life.stop_requests.request(kind)
    story = explain(read_run(folder)).replace(str(folder), "").splitlines()
    return everything(folder / "logs"), [line for line in story[1:] if not line.startswith("resumed from")]


@pytest.mark.covering(1)
@pytest.mark.parametrize(
    "ends",
    [
        [(0, 0)],
        [(0, None)],
        [(1, 1)],
        [(2, 2)],
        [(2, None)],
        [(3, 0)],
        [(1, 0), (1, 2), (3, 1)],
        [(0, None), (2, None)],
    ],
)
@pytest.mark.parametrize("kind", ["SIGTERM", "SIGINT", "run/stop"])
def test_after_a_signal_charts_hparams_and_story_are_those_of_the_uninterrupted_run(
    ends: list[tuple[int, int | None]], kind: str, tmp_path: Path
) -> None:
    """No stop that was none, no second point of a hyperparameter, no file that the signal needed."""
    charts, story = by_signal(tmp_path / "unbroken")
    found, logged = by_signal(tmp_path / "run", *ends, kind=kind)

    def without_places(charted: dict[Any, Any]) -> dict[Any, Any]:
        return {key: [each.replace("/unbroken", "/run") for each in values] for key, values in charted.items()}

    assert sorted(set(found) ^ set(charts)) == []
    for key, values in without_places(found).items():
        if key[1] not in ("settings", "decisions"):
            assert values == without_places(charts)[key], key
        else:
            assert len(values) == len(charts[key])
    hparams = [key for key in found if key[1].startswith("hparam/")]
    assert hparams
    assert len({(run, tag) for run, tag, _ in hparams}) == len(hparams)
    assert [line.partition(" in ")[0] for line in logged[-4:]] == [line.partition(" in ")[0] for line in story[-4:]]
    assert logged[:-4] == story[:-4]


def test_the_hyperparameters_show_the_epoch_that_was_restored(tmp_path: Path) -> None:
    """Not the last one, whose weights are gone."""
    charts, _ = by_signal(tmp_path / "run")

    final = {tag: values for (_, tag, _), values in charts.items() if tag.startswith("hparam/val_loss")}
    assert list(final.values()) == [["1.0"]]


@pytest.mark.parametrize("ends", [[], [(1, 1)], [(2, None)]])
def test_a_run_that_is_over_leaves_its_charts_and_story_alone(
    ends: list[tuple[int, int | None]], tmp_path: Path
) -> None:
    """However often it is resumed."""
    before = by_signal(tmp_path / "run", *ends)
    for _ in range(2):
        assert by_signal(tmp_path / "run") == before
