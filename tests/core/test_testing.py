"""The kit for authors finds what breaks the contract, and lets what keeps it pass."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from trainbus import Callback, Hooks, Run, SettingsError, decision, hookimpl
from trainbus.hooks import HOOKS
from trainbus.testing import EventRecorder, LineSubject, check_callback, check_subject, scripted


def train(subject: LineSubject) -> None:
    subject.train(np.array([0.1, 0.7]), np.array([1.0, 3.0]))


def test_the_small_subject_keeps_the_contract() -> None:
    """LineSubject has every capability and keeps each."""
    check_subject(LineSubject, train)


class Aliasing(LineSubject):
    """Hands out its weights themselves as a snapshot."""

    def snapshot(self) -> object:
        return self.slope, self.offset

    def restore(self, snapshot: Any) -> None:
        self.slope, self.offset = snapshot


class Forgetful(LineSubject):
    """Takes no new learning rate."""

    def set_learning_rates(self, rates: object) -> None: ...


class Ambiguous(LineSubject):
    """Has one name for two weights."""

    def weights(self) -> Any:
        return [("weight", self.slope), ("weight", self.offset)]


class Lossy(LineSubject):
    """Saves in half precision."""

    def load(self, path: Any) -> None:
        super().load(path)
        self.slope = self.slope.astype("float16")


class Touching(LineSubject):
    """Trains on while it is looked at."""

    def activations(self, batch_size: int) -> Any:
        train(self)
        return [("line", np.ones(3))]


class Skipping(LineSubject):
    """Shows one slice only."""

    def activations(self, batch_size: int) -> Any:
        return [("line", np.ones(min(batch_size, 3)))]


@pytest.mark.parametrize(
    ("subject", "sentence"),
    [
        (Aliasing, "a snapshot restores line/slope to the bit"),
        (Forgetful, "learning rates are what was set"),
        (Ambiguous, "names of weights are unique"),
        (Touching, "activations\\(\\) leaves line/slope to the bit"),
        (Skipping, "activations have the same size in small slices as in one"),
        (Lossy, "a file of weights_only=False restores line/slope to the bit"),
    ],
)
def test_subjects_that_break_the_contract_are_found(subject: type[LineSubject], sentence: str) -> None:
    """Aliased snapshots, ignored rates, ambiguous names and lossy files each fail with their sentence."""
    with pytest.raises(AssertionError, match=sentence):
        check_subject(subject, train)


class Remembering(Callback):
    """Keeps one listener for all its runs, and so leaks from one to the next."""

    def plugin(self) -> object:
        return LISTENER


LISTENER = EventRecorder("on_epoch_end")


def test_a_callback_with_state_is_found() -> None:
    """A plugin that is not made anew breaks the contract."""
    with pytest.raises(AssertionError, match="makes a new plugin each time"):
        check_callback(Remembering(), [{"loss": 1.0}])


class Counting(Callback):
    """Counts epochs."""

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


def test_scripted_runs_tell_where_validation_was() -> None:
    """Epochs without any val_ metric count as epochs without validation."""
    run, _ = scripted([{"loss": 1}, {"loss": 1, "val_loss": 2}], [])

    assert [run.state.validates(epoch) for epoch in range(2)] == [False, True]
    assert run.history == {"loss": [1.0, 1.0], "val_loss": [None, 2.0]}


def trained(recorder: EventRecorder) -> Run:
    """Two epochs of two batches, each with a validation; the first one saves."""
    with Run(LineSubject(), recorder, progress=False) as run:
        for epoch in run.epochs(2):
            for value in run.batches([1.0, 3.0]):
                run.log(loss=value)
            with run.validation():
                run.log(loss=5.0)
            if epoch == 0:
                run.decide(decision.save("best.npz"))
    return run


def test_a_recorder_listens_to_all_hooks_or_to_those_that_it_is_given() -> None:
    """A run that it does not listen to pays nothing for its batches."""
    everything, some = EventRecorder(), EventRecorder("on_epoch_end", "on_train_end")
    assert trained(everything).plugins["EventRecorder"] is everything
    trained(some)

    assert set(everything.names) == set(HOOKS) - {"on_exception", "on_checkpoint_error"}
    assert some.names == [name for name in everything.names if name in ("on_epoch_end", "on_train_end")]
    assert not Run(callbacks=some).has_batch_listeners
    assert Run(callbacks=everything).has_batch_listeners


@pytest.mark.parametrize("hook", HOOKS)
def test_an_event_holds_the_arguments_of_its_hook(hook: str) -> None:
    """Each but ``run``, of which the event holds epoch, batch and step."""
    recorder = EventRecorder(hook, answer=lambda event: decision.stop("enough"))
    arguments = list(inspect.signature(getattr(Hooks, hook)).parameters)[2:]
    values = {name: {} if name == "metrics" else number for number, name in enumerate(arguments)}

    answer = getattr(recorder, hook)(Run(), *values.values())
    assert answer == decision.stop("enough")
    assert recorder.events == [(hook, {"epoch": 0, "batch": 0, "step": 0, **values})]
    assert recorder.of(hook) == [recorder.events[0].values]
    assert recorder.of(hook, "step") == [values.get("step", 0)]
    assert recorder.of(hook, "epoch", "batch") == [(values.get("epoch", 0), values.get("batch", 0))]


def test_metrics_are_recorded_as_they_were() -> None:
    """Though those of a batch are a live view, and later batches change them."""
    recorder = EventRecorder("on_batch_end", "on_epoch_end")
    trained(recorder)

    assert recorder.of("on_batch_end", "step", "metrics") == [
        (1, {"loss": 1.0}),
        (2, {"loss": 2.0}),
        (3, {"loss": 1.0}),
        (4, {"loss": 2.0}),
    ]
    assert [each["val_loss"] for each in recorder.of("on_epoch_end", "metrics")] == [5.0, 5.0]


def test_a_recorder_of_an_unknown_hook_is_refused() -> None:
    """With the nearest hook that there is."""
    with pytest.raises(SettingsError, match=r"unknown hook 'on_epoch_ends'; did you mean 'on_epoch_end'\?"):
        EventRecorder("on_epoch_ends")
