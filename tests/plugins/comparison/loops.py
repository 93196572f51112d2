"""Loops over written values, with validations inside of epochs, that save everywhere and resume from anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from trainbus import Run
from trainbus.decision import Action, Save
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject


class Batch(NamedTuple):
    """What one batch logs."""

    loss: float
    validation: tuple[float, float] | None = None
    """``val_loss`` and ``val_f1`` of a validation after it."""


Plan = Sequence[Sequence[Batch]]
"""The batches of each epoch."""


def plan(*epochs: Sequence[float | tuple[float, float]]) -> Plan:
    """Return epochs whose batches log a loss of 1, or validate with a pair of values."""
    return [[Batch(each) if isinstance(each, (int, float)) else Batch(1.0, each) for each in epoch] for epoch in epochs]


def losses(*epochs: Sequence[float]) -> Plan:
    """Return epochs whose batches log these losses."""
    return [[Batch(each) for each in epoch] for epoch in epochs]


def train(epochs: Plan, *callbacks: Any, **options: Any) -> Run:
    """Return a run over the plan."""
    with Run(LineSubject(1.0), list(callbacks), verbose=0, **options) as run:
        for epoch in run.epochs(len(epochs), validation_freq=validated(epochs) or 1):
            for number in run.batches(range(len(epochs[epoch]))):
                batch = epochs[epoch][number]
                run.subject.train(np.array([1.0]), np.array([3.0]))
                run.log(loss=batch.loss, count=number % 3 + 1)
                if batch.validation is not None:
                    with run.validation():
                        run.log(loss=batch.validation[0], f1=batch.validation[1])
    return run


def validated(epochs: Plan) -> list[int]:
    """Return the epochs, counted from 1, that have a validation."""
    return [number for number, epoch in enumerate(epochs, 1) if any(each.validation for each in epoch)]


def decided(run: Run) -> list[tuple[int, Action]]:
    """Return each decision but saves, with its epoch."""
    return [(epoch, each) for epoch, done in run.state.decision_log for each in done if not isinstance(each, Save)]


def outcome(run: Run) -> dict[str, Any]:
    """Return all that a resumed run must have in common with an unbroken one."""
    return {
        "decided": [(epoch, repr(each), repr(each.values)) for epoch, each in decided(run)],
        "reason": run.result.reason,
        "epochs": run.result.epochs,
        "step": run.step,
        "rate": run.subject.learning_rate,
        "slope": float(run.subject.slope),
    }


def saving_everywhere(folder: Path) -> list[ModelCheckpoint]:
    """Save at the end of every batch and of every epoch."""
    return [
        ModelCheckpoint(str(folder / "batch-{step}"), save_freq=1),
        ModelCheckpoint(str(folder / "epoch-{step}")),
    ]


def broken_and_resumed(epochs: Plan, callbacks: Sequence[Any], folder: Path, places: Sequence[int]) -> list[str]:
    """Return the files from which a resumed run decided otherwise than the unbroken one.

    Args:
        epochs: What is trained.
        callbacks: What decides.
        folder: Where to save; it is empty.
        places: The numbers of the files to resume from, modulo their count.
    """
    whole = train(epochs, *callbacks, *saving_everywhere(folder / "whole"))
    files = [path.name for path in map(Path, whole.result.checkpoints) if int(path.stem[6:]) < whole.step]
    wrong = []
    for name in sorted({files[place % len(files)] for place in places}) if files else ():
        moved = Path(shutil.copytree(folder / "whole", folder / f"from {name}"))
        again = train(epochs, *callbacks, *saving_everywhere(moved), resume=moved / name)
        if outcome(again) != outcome(whole):
            wrong.append(name)
    return wrong


values = st.sampled_from([3.0, 2.0, 2.0, 1.0, 1.0, 0.5, -1.0, float("nan")])
pairs = st.tuples(values, values)
plans = st.lists(
    st.lists(st.builds(Batch, values, st.none() | pairs), min_size=2, max_size=5).map(
        lambda epoch: [*epoch[:-1], epoch[-1]._replace(validation=epoch[-1].validation or (1.0, 1.0))]
    ),
    min_size=2,
    max_size=5,
)
"""Epochs of which each has a validation at its end, and others inside."""
sparse_plans = st.lists(
    st.lists(st.builds(Batch, values, st.none() | pairs), min_size=1, max_size=4)
    | st.lists(st.builds(Batch, values, st.none()), min_size=1, max_size=2),
    min_size=2,
    max_size=9,
).filter(lambda epochs: bool(validated(epochs)))
"""Epochs of which some have no validation."""
