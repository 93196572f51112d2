"""The kit for authors finds what breaks the contract, and lets what keeps it pass."""

from collections.abc import Mapping
from pathlib import Path
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


class Hidden:
    """A subject that shows no weights.

    Args:
        files: Whether its files restore it.
        snapshots: Whether its snapshots do.
        momentum: Whether its files hold all that the training changes.
    """

    def __init__(self, *, files: bool = True, snapshots: bool = True, momentum: bool = True) -> None:
        self.place, self.speed = 5.0, 0.0
        self.files, self.snapshots, self.momentum = files, snapshots, momentum

    def train(self) -> list[float]:
        losses: list[float] = []
        for _ in range(2):
            losses.append(self.place**2)
            self.speed = 0.5 * self.speed - 0.1 * self.place
            self.place += self.speed
        return losses

    def suffixes(self, *, weights_only: bool) -> list[str]:
        return [".txt"]

    def save(self, path: Path, *, weights_only: bool) -> None:
        path.write_text(f"{self.place!r} {self.speed!r}")

    def load(self, path: Path) -> None:
        if self.files:
            self.place, speed = map(float, path.read_text().split())
            self.speed = speed if self.momentum else self.speed

    def snapshot(self) -> float:
        return self.place

    def restore(self, snapshot: float) -> None:
        if self.snapshots:
            self.place = snapshot


def test_a_subject_that_shows_no_weights_is_compared_by_its_training() -> None:
    check_subject(Hidden, Hidden.train)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"files": False}, "the training after a file of weights_only=False .* gives the same losses"),
        ({"momentum": False}, "the training after a file of weights_only=False .* gives the same losses"),
        ({"snapshots": False}, "the first loss after a snapshot was restored is the same"),
    ],
)
def test_one_that_does_not_restore_is_found(options: dict[str, bool], sentence: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){sentence}"):
        check_subject(lambda: Hidden(**options), Hidden.train)


def test_a_training_that_shows_nothing_is_refused() -> None:
    """Whatever the subject restores would pass."""
    with pytest.raises(AssertionError, match="nothing shows whether a subject is restored; let it take a step"):
        check_subject(Hidden, lambda subject: subject.train() and None)


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
