"""What ``check_binding`` accepts, and what it refuses."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

import pytest

from tests.core.binding.framework import Binding, Framework, training
from trainbus import Run, hookimpl
from trainbus.binding import RunDriver
from trainbus.decision import Decision, stop
from trainbus.testing import check_binding

WAYS = [
    {"save_freq": 1},
    {"save_freq": 1, "skips": False},
    {"own": True},
    {"own": True, "every_batch": True},
    {"own": True, "every_batch": True, "skips": False},
]
"""The ways to resume: by trainbus's own checkpoints or by those of the framework, which skips batches or does not."""


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.exhaustive
def test_a_binding_that_resumes_exactly_passes(way: dict[str, Any]) -> None:
    check_binding(training(**way))


@pytest.mark.parametrize("way", [{"save_freq": 1}, {"own": True, "every_batch": True}], ids=str)
def test_it_passes_where_the_last_of_each_event_is_killed(way: dict[str, Any]) -> None:
    check_binding(training(**way), at=["on_validation_end"])


class IgnoresResume(Binding):
    """Trains anew each time."""

    def __init__(self, callbacks: Any, **options: Any) -> None:
        super().__init__(callbacks, **{**options, "resume": None})


class BeginsWithTheNextEpoch(Binding):
    """Leaves out the rest of an interrupted epoch."""

    def begin(self, framework: Framework) -> None:
        super().begin(framework)
        if self.driver.run.resumer.mid_epoch:
            framework.epoch += 1


class TrainsBatchesAgain(Binding):
    """Trains on batches that were trained on."""

    def begin_batch(self, framework: Framework) -> bool:
        super().begin_batch(framework)
        return True


class LosesTheState(Binding):
    """Its framework keeps the weights, but not the state of the run."""

    def begin(self, framework: Framework) -> None:
        load = framework.load

        def load_without() -> None:
            load()
            framework.state = None

        framework.load = load_without  # type: ignore[method-assign]
        super().begin(framework)


class LosesTheWeights(Binding):
    """Its framework keeps the state of the run, but begins with new weights."""

    def begin(self, framework: Framework) -> None:
        super().begin(framework)
        framework.line.restore((0.0, 0.0))


class BeginsAfterAStop(Binding):
    """Does not look whether the resumed run had stopped."""

    def begin(self, framework: Framework) -> None:
        super().begin(framework)
        framework.stop = False


class TrainsOnAfterAStop(Binding):
    """Hands no stop on, whatever the driver says."""

    def begin_batch(self, framework: Framework) -> bool:
        skipped = self.driver.batches_to_skip > 0
        self.driver.begin_batch()
        return not skipped

    def end_batch(self, framework: Framework, batch: int, loss: float) -> None:
        super().end_batch(framework, batch, loss)
        framework.stop = False

    def end_epoch(self, framework: Framework) -> None:
        super().end_epoch(framework)
        framework.stop = False


class TrainsTheEpochToItsEnd(TrainsOnAfterAStop):
    """Hands a stop on at the end of an epoch only."""

    def end_epoch(self, framework: Framework) -> None:
        super().end_epoch(framework)
        framework.stop = self.driver.stopped


class MayTrainOn(TrainsOnAfterAStop):
    """Says that its framework trains on after a stop."""

    def begin(self, framework: Framework) -> None:
        begin = RunDriver.begin
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunDriver, "begin", partialmethod(begin, obeys_stop=False))
            super().begin(framework)


class DoesNotEnd(Binding):
    """Does not tell the run that the training is over."""

    def end(self, framework: Framework) -> None:
        pass


class EndsAtAStop(TrainsOnAfterAStop):
    """Ends the run at a stop, and trains on without callbacks."""

    def end_epoch(self, framework: Framework) -> None:
        super().end_epoch(framework)
        if self.driver.stopped:
            self.driver.end()


class EndsTwice(Binding):
    def end(self, framework: Framework) -> None:
        self.driver.end()
        self.driver.end()


class SkipsTooFew(Binding):
    """Lets the framework skip one batch less than were trained on."""

    def begin_epoch(self, framework: Framework) -> None:
        self.driver.begin_epoch(framework.epoch)
        for _ in range(self.driver.batches_to_skip - 1):
            framework.batch += 1
            self.driver.begin_batch()

    def begin_batch(self, framework: Framework) -> bool:
        self.driver.begin_batch()
        return True


class SkipsTooMany(Binding):
    """Lets the framework skip one batch more than were trained on."""

    def begin_epoch(self, framework: Framework) -> None:
        super().begin_epoch(framework)
        framework.batch += bool(framework.batch)


BROKEN = [
    (IgnoresResume, {}, "does not resume"),
    (BeginsWithTheNextEpoch, {"save_freq": 1}, "is resumed has failed"),
    (TrainsBatchesAgain, {"save_freq": 1, "skips": False}, "trained again on a batch"),
    (LosesTheState, {"own": True}, "resumed: "),
    (LosesTheWeights, {"own": True}, "on_batch_end is"),
    (BeginsAfterAStop, {"own": True}, "is resumed has failed.*another epoch after it has stopped"),
    (TrainsOnAfterAStop, {"save_freq": 1}, "another epoch after it has stopped .val_score 4.4 did not improve"),
    (MayTrainOn, {"save_freq": 1}, "epoch 5 follows a stop .val_score 4.4 did not improve"),
    (DoesNotEnd, {"save_freq": 1}, "run has not ended; call driver.end()"),
    (EndsAtAStop, {"save_freq": 1}, "another epoch after its end"),
    (SkipsTooFew, {"save_freq": 1}, "trained again on a batch"),
    (SkipsTooMany, {"save_freq": 1}, "on_batch_end is"),
]


class StopsAtBatch:
    """Stops the run after the second batch of the second epoch."""

    @hookimpl
    def on_batch_end(self, epoch: int, batch: int) -> Decision | None:
        return stop("enough") if (epoch, batch) == (1, 1) else None


@pytest.mark.parametrize("make", [TrainsOnAfterAStop, TrainsTheEpochToItsEnd])
def test_a_batch_that_follows_a_stop_is_refused(make: type[Binding]) -> None:
    def train(plugin: object, resume: bool) -> Run:
        binding = make([StopsAtBatch(), plugin], verbose=0)
        Framework().fit(binding)
        return binding.driver.run

    with pytest.raises(AssertionError, match=r"another batch after it has stopped .enough."):
        check_binding(train)


def test_a_binding_may_end_its_run_twice() -> None:
    check_binding(training(EndsTwice, save_freq=1), at=["on_validation_end"])


@pytest.mark.parametrize(("make", "way", "message"), BROKEN, ids=lambda each: getattr(each, "__name__", None))
def test_a_broken_binding_is_refused(make: Any, way: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_binding(training(make, **way))


def test_a_training_without_the_events_is_refused() -> None:
    with pytest.raises(AssertionError, match="none of the events on_exception"):
        check_binding(training(), at=["on_exception"])


def test_a_training_that_fails_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    """With its traceback."""

    class Fails(Binding):
        def begin(self, framework: Framework) -> None:
            raise RuntimeError("no GPU")

    with pytest.raises(AssertionError, match="the training that begins anew has failed"):
        check_binding(training(Fails))
    assert "RuntimeError: no GPU" in capfd.readouterr().err
