"""What ``check_binding`` accepts, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.binding.framework import Binding, Framework, training
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


class DoesNotStop(Binding):
    """Does not look whether the resumed run had stopped."""

    def begin(self, framework: Framework) -> None:
        super().begin(framework)
        framework.stop = False


BROKEN = [
    (IgnoresResume, {}, "does not resume"),
    (BeginsWithTheNextEpoch, {"save_freq": 1}, "is resumed has failed"),
    (TrainsBatchesAgain, {"save_freq": 1, "skips": False}, "on_batch_end is"),
    (LosesTheState, {"own": True}, "resumed: "),
    (LosesTheWeights, {"own": True}, "on_batch_end is"),
    (DoesNotStop, {"own": True}, "on_epoch_end is"),
]


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
