"""The kit for authors finds what breaks the contract, and lets what keeps it pass."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from trainbus import Callback, hookimpl
from trainbus.testing import EventRecorder, LineSubject, check_callback, check_subject


def train(subject: LineSubject) -> None:
    subject.train(np.array([0.1, 0.7]), np.array([1.0, 3.0]))


class Aliasing(LineSubject):
    """A subject that returns its own weights as a snapshot."""

    def snapshot(self) -> object:
        return self.slope, self.offset

    def restore(self, snapshot: Any) -> None:
        self.slope, self.offset = snapshot


class Forgetful(LineSubject):
    """A subject that ignores a new learning rate."""

    def set_learning_rates(self, rates: object) -> None: ...


class Ambiguous(LineSubject):
    """A subject with one name for two weights."""

    def weights(self) -> Any:
        return [("weight", self.slope), ("weight", self.offset)]


class Lossy(LineSubject):
    """A subject that saves in half precision."""

    def load(self, path: Any) -> None:
        super().load(path)
        self.slope = self.slope.astype("float16")


class Touching(LineSubject):
    """A subject that trains on while it is inspected."""

    def activations(self, batch_size: int) -> Any:
        train(self)
        return [("line", np.ones(3))]


class Skipping(LineSubject):
    """A subject that shows one slice only."""

    def activations(self, batch_size: int) -> Any:
        return [("line", np.ones(min(batch_size, 3)))]


@pytest.mark.parametrize(
    ("subject", "sentence"),
    [
        (Aliasing, "(?s)line/slope.*a snapshot restores the weights to the bit"),
        (Forgetful, "learning rates are what was set"),
        (Ambiguous, "names of weights are unique"),
        (Touching, "(?s)line/slope.*activations\\(\\) leaves the weights to the bit"),
        (Skipping, "activations have the same size in small slices as in one"),
        (Lossy, "(?s)line/slope.*a file of weights_only=False .* restores the weights to the bit"),
    ],
)
def test_subjects_that_break_the_contract_are_found(subject: type[LineSubject], sentence: str) -> None:
    """Aliased snapshots, ignored rates, ambiguous names and lossy files each fail with their sentence."""
    with pytest.raises(AssertionError, match=sentence):
        check_subject(subject, train)


class Remembering(Callback):
    """A plugin that keeps one listener for all its runs, and so leaks from one to the next."""

    def plugin(self) -> object:
        return LISTENER


LISTENER = EventRecorder("on_epoch_end")


def test_a_callback_with_state_is_found() -> None:
    """A plugin that is not created for each run breaks the contract."""
    with pytest.raises(AssertionError, match="makes a new plugin each time"):
        check_callback(Remembering(), [{"loss": 1.0}])


class Counting(Callback):
    """A plugin that counts epochs."""

    def plugin(self) -> object:
        return _Counter()


class _Counter:
    def __init__(self) -> None:
        self.epochs = 0

    @hookimpl
    def on_epoch_end(self) -> None:
        self.epochs += 1

    def state_dict(self) -> dict[str, int]:
        return {"epochs": self.epochs}

    def load_state_dict(self, saved: Mapping[str, int]) -> None: ...


def test_a_state_that_is_not_restored_is_found() -> None:
    """A plugin whose ``load_state_dict`` restores nothing would decide differently in a resumed run."""
    with pytest.raises(AssertionError, match="restores what state_dict returned"):
        check_callback(Counting(), [{"loss": 1.0}])
