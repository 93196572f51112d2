"""A run whose callback has never looked at the metric says so, before the training or at its end."""

from typing import Any

import numpy as np
import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

KINDS: list[Any] = [EarlyStopping, ReduceLROnPlateau]


def train(
    callbacks: Any,
    *,
    epochs: int = 3,
    planned: bool = True,
    validations: int = 1,
    batches: int = 4,
    **options: Any,
) -> Run:
    """Train epochs of four batches, with this number of validations each."""
    with Run(LineSubject(), callbacks, verbose=0, **options) as run:
        for epoch in run.epochs(epochs if planned else None):
            for batch in run.batches(range(batches)):
                run.log(loss=1.0)
                if batch < validations - 1:
                    with run.validation():
                        run.log(loss=1.0)
            if validations:
                with run.validation():
                    run.log(loss=1.0)
            if epoch + 1 == epochs:
                break
    return run


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "never" in line]


NEVER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"every": "5 validations"}, {}),
    ({"every": "4 validations"}, {}),
    ({"every": "9 validations"}, {"validations": 2}),
    ({"every": "5 validations"}, {"planned": False}),
    ({"every": "5 epochs"}, {"planned": False}),
    ({"every": "4 epochs from 0", "start_from_epoch": 1}, {"planned": False}),
    ({"every": "13 batches", "monitor": "loss"}, {"planned": False}),
    ({"every": "13 steps", "monitor": "loss"}, {"planned": False}),
    ({"every": "9 minutes", "monitor": "loss"}, {}),
    ({"every": "3 validations", "start_from_epoch": 2}, {"epochs": 2, "planned": False}),
]


CASES = [
    (kind, *case) for kind in KINDS for case in NEVER if kind is EarlyStopping or "start_from_epoch" not in case[0]
]


@pytest.mark.parametrize(("kind", "options", "loop"), CASES)
def test_a_callback_that_was_never_due_is_named_at_the_end(
    kind: Any, options: dict[str, Any], loop: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """In one line, which names the option and what was given."""
    train(kind(**{"patience": 1, **options}), **loop)
    since = f" after start_from_epoch={options['start_from_epoch']}" if "start_from_epoch" in options else ""
    line = f"{kind.__name__}: it has never looked at the metric: every={options['every']!r} was never due{since}"
    assert said(caplog) == [line]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "loop"),
    [
        ({"every": "validation"}, {}),
        ({"every": "3 validations"}, {}),
        ({"every": "5 validations"}, {"validations": 2}),
        ({"every": "3 epochs"}, {"planned": False}),
        ({"every": "12 batches", "monitor": "loss"}, {}),
        ({"every": "12 steps", "monitor": "loss"}, {"planned": False}),
        ({"every": "50%", "monitor": "loss"}, {}),
        ({"every": "epoch"}, {}),
    ],
)
def test_one_that_was_due_is_not(
    kind: Any, options: dict[str, Any], loop: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Once is enough."""
    train(kind(patience=1, **options), **loop)
    assert said(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("total", "every", "number"), [(6, 2, 4), (10, 5, 3), (5, 2, 4), (3, 3, 2), (7, 1, 8)])
def test_a_loop_by_steps_says_it_before_it_trains(
    kind: Any, total: int, every: int, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Since it knows its validations; and only then."""
    early = list[list[str]]()
    with Run(LineSubject(), kind(patience=1, every=f"{number} validations"), verbose=0) as run:
        for _ in run.steps(range(4), total, validate_every=every):
            early.append(said(caplog))
            run.log(loss=1.0)
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
    assert early[0] == said(caplog)
    (line,) = early[0]
    assert line.startswith(f"{kind.__name__}: it never looks at the metric: every='{number} validations', but ")
    assert "planned" in line


@pytest.mark.parametrize("every", ["5 batches", "5 steps"])
def test_a_loop_without_batches_is_reported_once(every: str, caplog: pytest.LogCaptureFixture) -> None:
    """At the end of its first epoch."""
    train(EarlyStopping(every=every, patience=1), batches=0, planned=False)
    assert said(caplog) == []
    assert sum("has not looked at the metric" in line for line in caplog.messages) == 1


def test_a_run_that_is_resumed_or_ends_by_an_error_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The looks may have been before, or would have come."""
    stopping = EarlyStopping(every="5 validations", patience=9)
    with pytest.raises(KeyError), Run(LineSubject(), stopping, verbose=0) as run:
        for _ in run.epochs(3):
            raise KeyError
    assert said(caplog) == []
    saver = ModelCheckpoint("run/m-{epoch}")
    train([stopping, saver], epochs=5)
    assert said(caplog) == []
    train([stopping, saver], epochs=7, resume="auto")
    assert said(caplog) == []


def test_the_best_weights_are_restored_all_the_same() -> None:
    """The end of the training is the looker's, too."""
    values = iter([1.0, 0.5, 2.0, 3.0])
    line = LineSubject()
    with Run(line, EarlyStopping(every="2 validations", patience=9, restore_best_weights=True), verbose=0) as run:
        for epoch in run.epochs(4):
            line.slope = np.array(float(epoch))
            with run.validation():
                run.log(loss=next(values))
    assert line.slope == 1.0
