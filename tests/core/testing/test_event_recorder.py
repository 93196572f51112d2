"""The recorder of events records what plugins are called with; scripted runs repeat given metrics."""

import inspect

import pytest

from trainbus import Hooks, Run, SettingsError, decision
from trainbus.hooks import HOOKS
from trainbus.testing import EventRecorder, LineSubject, scripted


def test_scripted_runs_validate_in_the_epochs_with_validation_metrics() -> None:
    """Epochs without any val_ metric count as epochs without validation."""
    run, _ = scripted([{"loss": 1}, {"loss": 1, "val_loss": 2}], [])

    assert [run.state.validates(epoch) for epoch in range(2)] == [False, True]
    assert run.history == {"loss": [1.0, 1.0], "val_loss": [None, 2.0]}


def trained(recorder: EventRecorder) -> Run:
    """Two epochs of two batches, each with a validation; the first one saves."""
    with Run(LineSubject(), recorder, verbose=0) as run:
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
