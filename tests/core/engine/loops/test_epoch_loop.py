"""Loops over epochs are not nested; a loop that was left does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from tqdm import tqdm

from trainbus import LoopError, Run, hookimpl
from trainbus.plugins import EarlyStopping


class Epochs:
    """A plugin that stores the epochs that end."""

    def __init__(self) -> None:
        self.ended: list[int] = []

    @hookimpl
    def on_epoch_end(self, epoch: int) -> None:
        self.ended.append(epoch)


def train(run: Run, epochs: int) -> None:
    for _ in run.epochs(epochs):
        run.log(loss=1.0)


def nested(run: Run) -> None:
    for _ in run.epochs(3):
        run.log(loss=1.0)
        train(run, 2)


def nested_without_a_metric(run: Run) -> None:
    for _ in run.epochs(3):
        train(run, 2)


def nested_in_a_held_loop(run: Run) -> None:
    outer = run.epochs(3)
    for _ in outer:
        train(run, 2)


def nested_in_a_bar(run: Run) -> None:
    for _ in tqdm(run.epochs(3), disable=True):
        for _ in tqdm(run.epochs(2), disable=True):
            run.log(loss=1.0)


def nested_in_an_enumeration(run: Run) -> None:
    for _, _ in enumerate(run.epochs(3)):
        list(run.epochs(2))


def side_by_side(run: Run) -> None:
    for _ in zip(run.epochs(3), run.epochs(3), strict=True):
        run.log(loss=1.0)


def in_batches(run: Run) -> None:
    for _ in run.epochs(3):
        for _ in run.batches(range(2)):
            train(run, 2)


def nested_by_a_generator(run: Run) -> None:
    def epochs() -> Iterator[int]:
        yield from run.epochs(3)

    for _ in epochs():
        train(run, 2)


@pytest.mark.parametrize(
    "loop",
    [
        nested, nested_without_a_metric, nested_in_a_held_loop, nested_in_a_bar, nested_in_an_enumeration, side_by_side,
        in_batches, nested_by_a_generator,
    ],
)  # fmt: skip
def test_a_loop_inside_another_is_refused_before_it_trains(loop: Callable[[Run], None]) -> None:
    """Its epochs would have the numbers of the outer ones."""
    epochs = Epochs()
    with pytest.raises(LoopError, match=r"leave the outer loop before it"), Run(callbacks=epochs) as run:
        loop(run)
    assert epochs.ended == []


def left(run: Run) -> None:
    for _ in run.epochs(3):
        run.log(loss=1.0)
        break
    train(run, 2)


def left_and_held(run: Run) -> None:
    outer = run.epochs(3)
    for _ in outer:
        run.log(loss=1.0)
        break
    train(run, 2)


def left_and_held_in_a_bar(run: Run) -> None:
    bar = tqdm(run.epochs(3), disable=True)
    for _ in bar:
        run.log(loss=1.0)
        break
    train(run, 2)


def left_by_an_error(run: Run) -> None:
    try:
        for _ in run.epochs(3):
            run.log(loss=1.0)
            raise KeyError
    except KeyError:
        train(run, 2)


def left_by_return(run: Run) -> None:
    def first() -> int:
        for epoch in run.epochs(3):
            run.log(loss=1.0)
            return epoch
        return -1

    first()
    train(run, 2)


def left_by_next(run: Run) -> None:
    next(iter(run.epochs(3)))
    run.log(loss=1.0)
    train(run, 2)


@pytest.mark.parametrize(
    "loop", [left, left_and_held, left_and_held_in_a_bar, left_by_an_error, left_by_return, left_by_next]
)
def test_a_loop_that_was_left_may_be_followed_by_another(loop: Callable[[Run], None]) -> None:
    """However it was left, and also if the script still holds it."""
    epochs = Epochs()
    with Run(callbacks=epochs) as run:
        loop(run)

    assert epochs.ended == [0, 0, 1]


def test_a_loop_that_was_left_can_go_on() -> None:
    """As any iterator: with the next epoch."""
    with Run(callbacks=EarlyStopping(monitor="loss", patience=9)) as run:
        epochs = run.epochs(5)
        seen = list(islice(epochs, 1))
        run.log(loss=1.0)
        for epoch in epochs:
            seen.append(epoch)
            run.log(loss=1.0)
            if epoch == 2:
                break
        for epoch in epochs:
            seen.append(epoch)
            run.log(loss=1.0)
        assert next(epochs, "no more") == "no more"

    assert seen == [0, 1, 2, 3, 4]


def test_loops_of_two_runs_may_be_nested() -> None:
    """As in a search over settings inside of a training."""
    with Run() as outer:
        for _ in outer.epochs(2):
            outer.log(loss=1.0)
            with Run() as inner:
                train(inner, 2)

    assert len(outer.history["loss"]) == len(inner.history["loss"]) == 2
