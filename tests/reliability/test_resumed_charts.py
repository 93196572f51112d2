"""The charts of a run that was killed and resumed are those of the one that was not."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorboardX  # noqa: F401 - once, for all processes that are forked

import trainbus.adapters.keras
import trainbus.adapters.sklearn
import trainbus.adapters.torch  # noqa: F401
from tests.plugins.event_readers import everything
from trainbus.plugins import TensorBoard

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
