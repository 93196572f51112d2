"""The rules are those of the real objects of other libraries, on histories with NaN, equal and negative values.

What differs by design is left out of the histories: an infinity improves only elsewhere; Ignite takes a NaN for the
best; a NaN before the first value counts as a wait here, not in Transformers; the first epoch never stops here; and of
a negative best value, a relative threshold asks for a better value only here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from math import nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Kept, Patience, early_stopping_rule, retention_rule

coarse = st.integers(-4, 4).map(lambda number: number / 2)
finite = coarse | coarse | st.floats(-8, 8, width=16)
not_negative = finite.map(abs)
modes = st.sampled_from(["min", "max"])
deltas = st.sampled_from([0.0, 0.0, 0.125, 0.5, 1.0])
fractions = st.sampled_from([0.0, 1e-4, 0.1, 0.5])


def with_nan(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    """Return histories with NaN behind the first value."""
    rest = st.lists(values | values | values | st.just(nan), max_size=20)
    return st.builds(lambda first, rest: [first, *rest], values, rest)


def stop_of(history: Sequence[float], mode: str, **options: Any) -> int | None:
    """Return the number of the value at which this library's rule stops."""
    sign, state = 1 if mode == "max" else -1, Patience()
    bounds = {name: sign * options.pop(name) for name in list(options) if name.endswith("_threshold")}
    for number, value in enumerate(history):
        state, verdict = early_stopping_rule(state, sign * value, number, **bounds, **options)
        if verdict.stop:
            return number
    return None


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("ignite").handlers.clear()


@pytest.mark.exhaustive
@given(
    history=with_nan(finite),
    mode=modes,
    patience=st.integers(1, 4),
    min_delta=deltas,
    check_finite=st.booleans(),
    good=st.none() | finite,
    bad=st.none() | finite,
)
def test_lightning(
    history: list[float],
    mode: str,
    patience: int,
    min_delta: float,
    check_finite: bool,
    good: float | None,
    bad: float | None,
) -> None:
    """Patience, thresholds, and a value that is not finite."""
    kind = pytest.importorskip("lightning.pytorch.callbacks", reason="needs trainbus[test]").EarlyStopping
    torch = pytest.importorskip("torch")
    callback = kind(
        "score",
        min_delta,
        patience,
        mode=mode,
        check_finite=check_finite,
        stopping_threshold=good,
        divergence_threshold=bad,
    )
    expected = next(
        (
            number
            for number, value in enumerate(history)
            if callback._evaluate_stopping_criteria(torch.tensor(value))[0]
        ),
        None,
    )
    given = {"stopping_threshold": good, "divergence_threshold": bad}
    options = {name: value for name, value in given.items() if value is not None}

    assert (
        stop_of(history, mode, patience=patience, min_delta=min_delta, check_finite=check_finite, **options) == expected
    )


def in_ignite(history: Sequence[float], **options: Any) -> int | None:
    handlers = pytest.importorskip("ignite.handlers", reason="needs trainbus[bench]")
    trainer, given = pytest.importorskip("ignite.engine").Engine(lambda *_: None), iter(history)
    handler = handlers.EarlyStopping(score_function=lambda _: next(given), trainer=trainer, **options)
    for number in range(len(history)):
        handler(trainer)
        if trainer.should_terminate:
            return number
    return None


@given(st.lists(finite, min_size=1, max_size=20), modes, st.integers(1, 4), deltas, st.booleans())
def test_ignite(history: list[float], mode: str, patience: int, delta: float, cumulative: bool) -> None:
    """Absolute thresholds, cumulative or not."""
    expected = in_ignite(history, mode=mode, patience=patience, threshold=delta, cumulative=cumulative)

    assert stop_of(history, mode, patience=patience, min_delta=delta, creeping=not cumulative) == expected


@given(st.lists(not_negative, min_size=1, max_size=20), modes, st.integers(1, 4), fractions, st.booleans())
def test_relative_thresholds_of_ignite(
    history: list[float], mode: str, patience: int, fraction: float, cumulative: bool
) -> None:
    """Of values that are not negative."""
    expected = in_ignite(
        history, mode=mode, patience=patience, threshold=fraction, cumulative=cumulative, threshold_mode="rel"
    )

    assert stop_of(history, mode, patience=patience, relative_delta=fraction, creeping=not cumulative) == expected


def in_skorch(history: Sequence[float], mode: str, **options: Any) -> int | None:
    kind = pytest.importorskip("skorch.callbacks", reason="needs trainbus[bench]").EarlyStopping
    stopper = kind("score", lower_is_better=mode == "min", sink=lambda *_: None, **options)
    net = SimpleNamespace(history=pytest.importorskip("skorch.history").History(), verbose=0)
    stopper.on_train_begin(net)
    for number, value in enumerate(history):
        net.history.new_epoch()
        net.history.record("epoch", number + 1)
        net.history.record("score", value)
        try:
            stopper.on_epoch_end(net)
        except KeyboardInterrupt:
            return number
    return None


@given(with_nan(finite), modes, st.integers(1, 4), deltas)
def test_skorch(history: list[float], mode: str, patience: int, delta: float) -> None:
    """Absolute thresholds."""
    expected = in_skorch(history, mode, patience=patience, threshold=delta, threshold_mode="abs")

    assert stop_of(history, mode, patience=patience, min_delta=delta) == expected


@given(with_nan(not_negative), modes, st.integers(1, 4), fractions)
def test_relative_thresholds_of_skorch(history: list[float], mode: str, patience: int, fraction: float) -> None:
    """Of values that are not negative: its default."""
    expected = in_skorch(history, mode, patience=patience, threshold=fraction, threshold_mode="rel")

    assert stop_of(history, mode, patience=patience, relative_delta=fraction) == expected


@given(with_nan(finite), modes, st.integers(1, 4), deltas)
def test_transformers(history: list[float], mode: str, patience: int, threshold: float) -> None:
    """The best value follows each better one, whatever the threshold."""
    transformers = pytest.importorskip("transformers", reason="needs trainbus[bench]")
    better = np.greater if mode == "max" else np.less
    options = SimpleNamespace(greater_is_better=mode == "max", metric_for_best_model="score")
    state, control = SimpleNamespace(best_metric=None), SimpleNamespace(should_training_stop=False)
    callback = transformers.EarlyStoppingCallback(patience, threshold)
    expected = None
    for number, value in enumerate(history):
        callback.on_evaluate(options, state, control, {"eval_score": value})
        if control.should_training_stop:
            expected = number
            break
        if state.best_metric is None or better(value, state.best_metric):  # as Trainer does after the callbacks
            state.best_metric = value

    assert stop_of(history, mode, patience=patience, min_delta=threshold, creeping=True) == expected


@given(st.lists(finite, min_size=1, max_size=20), st.integers(1, 4), st.booleans())
def test_what_ignite_keeps(history: list[float], count: int, newer: bool) -> None:
    """``greater_or_equal`` at any count; without it, Ignite keeps the older of equal scores only as the one file."""
    handlers = pytest.importorskip("ignite.handlers", reason="needs trainbus[bench]")
    torch = pytest.importorskip("torch")
    count = count if newer else 1
    trainer, given, present = pytest.importorskip("ignite.engine").Engine(lambda *_: None), iter(history), set[str]()

    class InMemory(handlers.checkpoint.BaseSaveHandler):  # type: ignore[misc, name-defined]
        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            present.add(filename)

        def remove(self, filename: str) -> None:
            present.discard(filename)

    saver = handlers.Checkpoint(
        {"model": torch.nn.Linear(1, 1)},
        InMemory(),
        score_function=lambda _: next(given),
        n_saved=count,
        filename_pattern="{global_step}",
        global_step_transform=lambda engine, _: engine.state.iteration,
        greater_or_equal=newer,
    )
    kept: tuple[Kept, ...] = ()
    for trainer.state.iteration, value in enumerate(history):
        saver(trainer)
        kept, _ = retention_rule(
            kept, Kept(str(trainer.state.iteration), trainer.state.iteration, 0, value), best=count, ties=newer
        )

        assert {each.path for each in kept} == present
