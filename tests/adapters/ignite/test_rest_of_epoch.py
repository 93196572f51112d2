"""What is left of an epoch of Ignite that was interrupted."""

from __future__ import annotations

import pytest

pytest.importorskip("ignite")

from ignite.engine import Engine

from trainbus.adapters.ignite.rest_of_epoch import RestOfEpoch
from trainbus.binding import RunDriver
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

BATCHES = 4


def resumed(batches: int) -> RunDriver:
    """Return the driver of a run that continues after so many batches of its first epoch."""
    for resume in (None, "auto"):
        driver = RunDriver(LineSubject(), ModelCheckpoint("m", save_freq=1), resume=resume, verbose=0)
        driver.begin(1, batches=BATCHES)
        driver.begin_epoch()
        if resume is None:
            for _ in range(batches):
                driver.begin_batch()
                driver.end_batch({"loss": 1.0})
            driver.end(KeyboardInterrupt())
    return driver


@pytest.mark.parametrize("done", [1, 3])
def test_it_gives_the_batches_that_were_not_trained_on(done: int) -> None:
    """And the complete loader after that."""
    driver = resumed(done)
    engine = Engine(lambda *_: None)
    engine.state.dataloader = list(range(BATCHES))
    rest = RestOfEpoch(engine, driver, only_end=False)

    assert list(rest) == list(range(done, BATCHES))
    assert driver.batches_to_skip == 0
    assert list(engine.state.dataloader) == list(range(BATCHES))
    driver.end()


def test_an_epoch_that_was_trained_on_gives_its_last_batch() -> None:
    """Ignite needs one to end the epoch; the trainer does not train on it."""
    driver = resumed(BATCHES)
    engine = Engine(lambda *_: None)
    engine.state.dataloader = list(range(BATCHES))

    assert list(RestOfEpoch(engine, driver, only_end=True)) == [BATCHES - 1]
    assert driver.batches_to_skip == BATCHES
    assert not driver.begin_batch()
    driver.end()
