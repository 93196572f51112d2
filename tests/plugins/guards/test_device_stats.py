"""Measurements reach every sink of a run on every framework, and no rule takes them for metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


def keras_run(size: int, rows: int, validation: bool) -> Run:
    import keras  # noqa: PLC0415

    from trainbus.adapters.keras import KerasCallback  # noqa: PLC0415

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((rows, 1)), np.ones((rows, 1))
    bus = KerasCallback([DeviceStats()])
    model.fit(x, y, size, 2, 0, callbacks=[bus], validation_data=(x[:3], y[:3]) if validation else None)
    return bus.run


def sklearn_run(size: int, rows: int, validation: bool) -> Run:
    from sklearn.linear_model import SGDRegressor  # noqa: PLC0415

    from trainbus.adapters.sklearn import partial_fit  # noqa: PLC0415

    x, y = np.ones((rows, 1)), np.ones(rows)
    data = (x[:3], y[:3]) if validation else None
    return partial_fit(SGDRegressor(), x, y, batch_size=size, epochs=2, callbacks=[DeviceStats()], validation_data=data)


def stream_run(size: int, rows: int, validation: bool) -> Run:
    from sklearn.linear_model import SGDRegressor  # noqa: PLC0415

    from trainbus.adapters.sklearn import partial_fit_stream  # noqa: PLC0415

    x, y = np.ones((rows, 1)), np.ones(rows)
    batches = [(x[each : each + size], y[each : each + size]) for each in range(0, rows, size)]
    data = (x[:3], y[:3]) if validation else None
    return partial_fit_stream(SGDRegressor(), batches, epochs=2, callbacks=[DeviceStats()], validation_data=data)


@pytest.mark.parametrize("train", [keras_run, sklearn_run, stream_run])
@pytest.mark.parametrize(("size", "rows"), [(8, 32), (8, 20), (2, 6), (32, 7)])
@pytest.mark.parametrize("validation", [True, False])
def test_an_adapter_that_knows_the_samples_gives_their_speed(
    train: Callable[..., Run], size: int, rows: int, validation: bool
) -> None:
    """Those of training only, also of a last batch that is smaller."""
    stats = train(size, rows, validation).state.stats

    batches = -(-rows // size)
    assert stats["samples_per_second"] / stats["batches_per_second"] == pytest.approx(rows / batches)
