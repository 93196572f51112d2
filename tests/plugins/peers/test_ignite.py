"""The callbacks decide as Ignite's handlers do, on Ignite's own tables and on others.

By design they differ: of equal values the earlier is better, a NaN is never better, and of a negative best value a
relative threshold asks for a better value.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint

from .trainings import histories, saved, stopped_after, train

engine = pytest.importorskip("ignite.engine", reason="needs trainbus[bench]")
handlers = pytest.importorskip("ignite.handlers", reason="needs trainbus[bench]")


def its_stop(
    values: Sequence[float],
    patience: int,
    min_delta: float,
    mode: str,
    *,
    cumulative_delta: bool = True,
    min_delta_mode: str = "abs",
) -> int:
    """Return the number of events after which Ignite stops, or of all."""
    given, trainer = iter(values), engine.Engine(lambda *_: None)
    handler = handlers.EarlyStopping(
        patience,
        lambda _: next(given),
        trainer,
        threshold=min_delta,
        cumulative=cumulative_delta,
        mode=mode,
        threshold_mode=min_delta_mode,
    )
    for number in range(1, len(values) + 1):
        handler(trainer)
        if trainer.should_terminate:
            return number
    return len(values)


def in_ignite(values: Sequence[float], folder: Path, kept: int, pattern: str = "{global_step}.pt") -> list[str]:
    """Return the models that Ignite keeps."""
    given, trainer = iter(values), engine.Engine(lambda *_: None)
    saver = handlers.Checkpoint(
        {"model": torch.nn.Linear(1, 1)},
        handlers.DiskSaver(folder),
        score_function=lambda _: next(given),
        n_saved=kept,
        filename_pattern=pattern,
        global_step_transform=lambda engine, _: engine.state.epoch,
    )
    trainer.last_event_name = engine.Events.EPOCH_COMPLETED
    for trainer.state.epoch in range(1, len(values) + 1):
        saver(trainer)
    return saved(folder)


@pytest.mark.parametrize(
    ("values", "patience", "min_delta"),
    [
        ([1.0, 0.8, 0.88], 2, 0.0),
        ([1.0, 2.0, 2.01, 3.0, 3.01, 3.02], 2, 0.1),
        ([0.0, 0.3, 0.6], 2, 0.4),
        ([42.0, 42.0], 1, 0.0),
        ([1.0, 0.8, 1.2], 2, 0.0),
        ([1.0, 0.8, 1.2, 1.5, 0.9, 1.0, 0.99, 1.1, 0.9], 3, 0.0),
        ([0.047] * 10, 4, 0.0),
        ([1.0, 0.8, 1.2, 1.23, 0.9, 1.0, 1.1, 1.253, 1.26, 1.2], 5, 0.0),
    ],
)
def test_its_own_tables_of_early_stopping(values: list[float], patience: int, min_delta: float) -> None:
    """The same epoch is the last."""
    expected = its_stop(values, patience, min_delta, "max")

    assert stopped_after(values, mode="max", patience=patience, min_delta=min_delta) == expected


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping(mode: Literal["min", "max"]) -> None:
    """With any patience and min_delta."""
    for number, values in enumerate(histories(200)):
        options = {"patience": number % 4 + 1, "min_delta": (0.0, 0.5, 1.0)[number % 3], "mode": mode}

        assert stopped_after(values, **options) == its_stop(values, **options), (values, options)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("cumulative_delta", [False, True])
@pytest.mark.parametrize("min_delta_mode", ["abs", "rel"])
def test_every_threshold_of_early_stopping(
    mode: Literal["min", "max"], cumulative_delta: bool, min_delta_mode: Literal["abs", "rel"]
) -> None:
    """Cumulative or not, absolute or relative; absolute ones also of values below 0."""
    for number, history in enumerate(histories(60)):
        values = history if min_delta_mode == "abs" else [abs(value) for value in history]
        options: dict[str, Any] = {
            "patience": number % 4 + 1,
            "min_delta": (0.0, 0.1, 0.5, 0.9)[number % 4],
            "mode": mode,
            "cumulative_delta": cumulative_delta,
            "min_delta_mode": min_delta_mode,
        }

        assert stopped_after(values, **options) == its_stop(values, **options), (values, options)


def test_its_own_case_of_a_creeping_best() -> None:
    """Small steps never add up: its default, against cumulative_delta."""
    values = [0.0, 0.3, 0.6, 0.9]
    options: dict[str, Any] = {"patience": 2, "min_delta": 0.4, "mode": "max"}
    for cumulative, epochs in ((False, 3), (True, 4)):
        assert its_stop(values, **options, cumulative_delta=cumulative) == epochs
        assert stopped_after(values, **options, cumulative_delta=cumulative) == epochs


def test_a_nan_is_no_improvement() -> None:
    """In Ignite it is one, and after it every value is."""
    values = [0.5, nan, 0.4, 0.3, 0.2]
    options: dict[str, Any] = {"patience": 2, "min_delta": 0.0, "mode": "max"}

    assert its_stop(values, **options) == 5
    assert stopped_after(values, **options) == 3


@pytest.mark.parametrize("worse", [-1.05, -1.09, -1.01])
def test_a_worse_value_below_0_is_no_relative_improvement(worse: float) -> None:
    """Ignite calls it one, as its own test of negative values shows."""
    values = [-1.0, worse, worse, worse]
    options: dict[str, Any] = {"patience": 1, "min_delta": 0.1, "mode": "max", "min_delta_mode": "rel"}

    assert its_stop(values, **options) > stopped_after(values, **options) == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_best_are_kept(keep: int, tmp_path: Path) -> None:
    """Of values that are distinct."""
    for number, values in enumerate([[1.2, -2.0, 3.1, -4.0], *histories(20, distinct=True)]):
        own = tmp_path / f"own {number}"
        train(values, ModelCheckpoint(own / "{epoch}", monitor="score", mode="max", keep=keep))

        assert saved(own) == in_ignite(values, tmp_path / f"its {number}", keep), values


@pytest.mark.parametrize("values", [[1, 12], [0, 1, 1, 2, 3], [0.3456789, 0.1234, 0.4567, 0.134567]])
def test_names_with_the_value(values: list[float], tmp_path: Path) -> None:
    """A whole number has no point, as in Ignite's tests; others have the digits that are asked for."""
    form = "" if all(isinstance(value, int) for value in values) else ":.4f"
    own = ModelCheckpoint(tmp_path / "own" / f"P_score={{score{form}}}", monitor="score", mode="max", keep=2)
    train(values, own)

    assert saved(tmp_path / "own") == in_ignite(values, tmp_path / "its", 2, "P_score={score}.pt")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("chk-model--{step}", "chk-model--1.pt"),
        ("{epoch}-model-{score}.chk.pt", "1-model-0.9999.chk.pt"),
        ("{epoch}-best-model-acc-{score}", "1-best-model-acc-0.9999.pt"),
        ("SAVE:model-acc-{score}.pth", "SAVE:model-acc-0.9999.pth"),
        ("best_model_{epoch}_acc={score:.4f}", "best_model_1_acc=0.9999.pt"),
    ],
)
def test_its_own_patterns_of_names(template: str, name: str, tmp_path: Path) -> None:
    """Written with this library's fields, and with its suffix where there is none."""
    run = train([0.9999], ModelCheckpoint(tmp_path / template))

    assert [path.name for path in run.result.checkpoints] == [name]


def test_a_resumed_run_stops_and_keeps_as_in_its_test(tmp_path: Path) -> None:
    """Three epochs, then a resume with worse values: stopped in the fourth, whose model alone is kept."""

    def go(epochs: int, source: Path | None = None) -> Run:
        callbacks: list[Any] = [
            EarlyStopping(monitor="score", mode="max", patience=2),
            ModelCheckpoint(tmp_path / "checkpoint_{epoch}", keep_last=1),
        ]
        return train([0.2, 0.3, 0.2, 0.1, 0.1, 0.1][:epochs], callbacks, batches=3, resume=source)

    go(3)
    assert saved(tmp_path) == ["checkpoint_3"]
    assert go(6, tmp_path / "checkpoint_3.pt").result.epochs == 4
    assert saved(tmp_path) == ["checkpoint_4"]


class Unserializable:
    """A component whose state cannot be written."""

    def state_dict(self) -> dict[str, Any]:
        return {"function": lambda value: value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    """As with Ignite's atomic DiskSaver."""
    model = torch.nn.Linear(1, 1)
    subject = TorchSubject(model, torch.optim.SGD(model.parameters()), extra={"own": Unserializable()})
    with (
        pytest.raises(Exception, match=r"function|pickle|local object"),
        Run(subject, ModelCheckpoint(tmp_path / "m")) as run,
    ):
        for _ in run.epochs(1):
            run.log(loss=1.0)

    assert saved(tmp_path) == []


@pytest.mark.parametrize("value", [{"1": 1}, "0.5", None])
def test_a_value_that_is_no_number_is_refused(value: object, tmp_path: Path) -> None:
    """Ignite's test of its score function."""
    callback = ModelCheckpoint(tmp_path / "m", monitor="score", mode="max", save_best_only=True)
    if value is None:  # a known metric that has no value yet
        assert train([value], callback).result.checkpoints == ()  # type: ignore[list-item]
        return
    with pytest.raises(SettingsError):
        train([value], callback)  # type: ignore[list-item]
