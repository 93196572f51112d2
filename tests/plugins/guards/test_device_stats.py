"""Measurements reach every sink of a run on every framework, and no rule takes them for metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbus import MissingMetric, Run, SettingsError, journal
from trainbus.plugins import DeviceStats, EarlyStopping, ModelCheckpoint, TensorBoard
from trainbus.testing import LineSubject

from ..event_readers import scalars
from ..trainings import TRAININGS

pytest.importorskip("psutil")
pytest.importorskip("pynvml")

ALWAYS = {"process_memory_gb", "process_cpu_percent", "data_wait_share", "batches_per_second"}


def training(*callbacks: Any, verbose: Any = 0) -> Run:
    with Run(LineSubject(), [*callbacks, DeviceStats()], verbose=verbose) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(3)):
                run.log(loss=1.0, count=4)
    return run


@pytest.mark.parametrize("framework", TRAININGS)
def test_every_framework_is_measured(framework: str) -> None:
    run = TRAININGS[framework]([DeviceStats()], epochs=1)

    assert set(run.state.stats) >= ALWAYS
    assert not ALWAYS & set(run.history)
    assert 0 <= run.state.stats["data_wait_share"] <= 1
    assert run.failures == []


def test_the_journal_the_charts_and_the_printed_line_have_them(capsys: pytest.CaptureFixture[str]) -> None:
    run = training(ModelCheckpoint("run/m"), TensorBoard("logs", write_graph=False, write_images=False), verbose=2)
    epochs = journal.read(Path("run/journal.jsonl"))[0].epochs
    printed = capsys.readouterr().out

    assert [set(each.stats) for each in epochs] == [set(run.state.stats)] * 2
    assert set(epochs[0].metrics) == {"loss", "learning_rate"}
    charts = scalars("logs")
    for name in {*ALWAYS, "samples_per_second"}:
        assert f"{name}: " in printed
        assert any(f"stats/{name}" in str(each) for each in charts)
    assert json.loads(json.dumps(dict(run.state.stats))) == run.state.stats
    assert "trainbus-device-stats" not in [each.name for each in threading.enumerate()]


@pytest.mark.parametrize("name", sorted(ALWAYS))
def test_no_rule_monitors_them(name: str) -> None:
    with pytest.raises(MissingMetric):
        training(EarlyStopping(monitor=name, mode="min"))


def test_a_reading_that_fails_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]]
) -> None:
    from trainbus.plugins.guards.process_readings import ProcessReadings  # noqa: PLC0415

    def fails(_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(ProcessReadings, "read", fails)
    run = training()

    assert len(run.failures) == 1
    assert logged() == ["DeviceStats: no measurements: OSError: gone; the training continues"]
    assert run.state.stats == {}


@pytest.mark.parametrize("source", [None, 3, {"a": 1.0}])
def test_measurements_of_ones_own_are_a_function(source: Any) -> None:
    with Run() as run, pytest.raises(SettingsError, match="give a function that returns numbers by name"):
        run.add_stats(source)


def test_measurements_of_ones_own_join_the_others() -> None:
    with Run() as run:
        run.add_stats(lambda: {"queue": 3.0})
        for _ in run.epochs(1):
            run.log(loss=1.0)

    assert run.state.stats == {"queue": 3.0}
