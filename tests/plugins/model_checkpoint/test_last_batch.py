"""The field {batch} in names that are filled at the end of an epoch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

BEST = {"monitor": "val_loss", "save_best_only": True}


class Listens:
    """A plugin that hears each batch, as a loop with one counts them in another way."""

    @hookimpl
    def on_batch_end(self) -> None:
        """Hear it."""


def train(
    *plugins: Any, at: Mapping[int, tuple[int, ...]], resume: Any = None, epochs: int = 3, left_at: int = 9
) -> Run:
    """Train epochs of three batches, and validate in these batches of each epoch, or behind them in batch 3."""
    values = iter([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    known = {(epoch, batch): next(values) for epoch in range(epochs) for batch in at.get(epoch, ())}
    with Run(LineSubject(), list(plugins), resume=resume, verbose=0) as run:
        for epoch in run.epochs(epochs):
            for batch in run.batches(range(3)):
                run.log(loss=1.0)
                if (epoch, batch) in known:
                    with run.validation():
                        run.log(loss=known[epoch, batch])
                if batch == left_at:
                    break
            if (epoch, 3) in known:
                with run.validation():
                    run.log(loss=known[epoch, 3])
    return run


def names(run: Run) -> list[str]:
    """Return what the run has saved, in order."""
    return [each.path.stem for each in run.state.checkpoints]


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize(
    ("options", "at", "expected"),
    [
        ({"save_freq": "validation", **BEST}, {0: (3,), 1: (3,)}, ["1-3", "2-3"]),
        ({"save_freq": "validation", **BEST}, {0: (0,), 1: (3,), 2: (1, 3)}, ["1-1", "2-3", "3-2", "3-3"]),
        ({"save_freq": "2 validations"}, {0: (0, 3), 1: (1,), 2: (3,)}, ["1-3", "3-3"]),
        ({"save_freq": 2, **BEST}, {0: (3,), 1: (3,), 2: (3,)}, ["1-3", "2-3", "3-3"]),
        ({"save_freq": "4 steps", "keep": 9, "monitor": "val_loss"}, {0: (3,), 1: (3,), 2: (3,)}, ["2-3", "3-3"]),
        ({"save_freq": "50%"}, {0: (3,)}, ["2-2", "3-3"]),
        ({"save_freq": "epoch"}, {0: (3,)}, ["1-3", "2-3", "3-3"]),
        ({"save_freq": "2 epochs", **BEST}, {0: (3,), 1: (3,)}, ["2-3"]),
    ],
)
def test_at_the_end_of_an_epoch_it_is_the_last_batch(
    options: dict[str, Any], at: dict[int, tuple[int, ...]], expected: list[str], listens: bool
) -> None:
    """Whether the loop observes its batches or not."""
    run = train(ModelCheckpoint("{epoch}-{batch}", **options), *([Listens()] if listens else []), at=at)

    assert names(run) == expected


@pytest.mark.parametrize("listens", [False, True])
def test_an_epoch_that_is_left_ends_with_the_batch_in_which_it_was_left(listens: bool) -> None:
    """As the batches of its steps say."""
    callback = ModelCheckpoint("{epoch}-{batch}", save_last="last-{batch}", save_on=("end",))
    run = train(callback, *([Listens()] if listens else []), at={0: (3,)}, left_at=1)

    assert {*names(run)} == {"1-2", "2-2", "3-2", "last-2", "end"}


AT = {0: (0, 3), 1: (3,), 2: (1, 3)}


@pytest.mark.parametrize("save_freq", ["validation", "2 steps", "epoch"])
def test_a_resumed_run_gives_the_same_names(save_freq: Any) -> None:
    """From each file that the unbroken run has saved, also one in the middle of an epoch or behind its last batch."""

    def callbacks() -> list[Any]:
        best = ModelCheckpoint("run/{epoch}-{batch}", save_freq=save_freq, save_last="last-{batch}", **BEST)
        return [
            EarlyStopping(patience=99, restore_best_weights=True),
            best,
            ModelCheckpoint("each/{step}", save_freq=1),
        ]

    unbroken = train(*callbacks(), at=AT)
    whole = [each.as_posix() for each in unbroken.result.checkpoints if each.parts[0] == "run"]
    for source in sorted(Path("each").glob("[!.]*.npz")):
        run = train(*callbacks(), at=AT, resume=source)
        assert [each.as_posix() for each in run.result.checkpoints if each.parts[0] == "run"] == whole, source
