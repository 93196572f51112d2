"""The choice of a metric."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from trainbus import MissingMetric
from trainbus.plugins import EarlyStopping
from trainbus.replay import replay
from trainbus.replay.metric_choice import choose_metric

from .recorded import recording


def test_callbacks_without_a_metric_take_a_logged_one() -> None:
    """The metric is val_loss if a run logs it, else the first one of the ranking, with the reason and the next ones."""
    runs = [recording({"grad_norm": [1.0, 2.0], "accuracy": [0.1, 0.2], "val_acc": [0.5, 0.25]})]
    choice = replay(runs, EarlyStopping(patience=1)).choice

    assert (choice.monitor, choice.mode) == ("val_acc", "max")
    assert choice.why == "a quality metric on held-out data"
    assert choice.others == ("accuracy",)


def test_a_requested_metric_must_be_logged() -> None:
    """The error names the nearest metric; runs without the metric are left out and named, unless none is left."""
    runs = [recording({"val_loss": [1.0]}, "a"), recording({"loss": [1.0]}, "b")]
    with pytest.raises(MissingMetric, match=r"no run logs 'var_loss'; did you mean 'val_loss'\? logged: val_loss"):
        replay(runs, EarlyStopping(monitor="var_loss"))
    with pytest.raises(MissingMetric, match="no run logs loss and val_loss"):
        replay(runs, [EarlyStopping(monitor="loss"), EarlyStopping(monitor="val_loss")])

    result = replay(runs, EarlyStopping(monitor="val_loss"))
    assert [each.name for each in result.outcomes] == ["a"]
    assert result.notes == ("1 run does not log val_loss and is left out: b.",)


@pytest.mark.parametrize(("value", "flaw"), [(0.0, "never changes"), (math.nan, "has no finite value")])
def test_the_only_metric_may_tell_nothing(value: float, flaw: str) -> None:
    """The reason says so."""
    assert choose_metric([recording([value] * 9)]).why == f"the loss on held-out data, which {flaw}"


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("step", [None, 20])
def test_a_note_says_that_patience_counts_the_values_of_a_rare_metric(every: int, step: int | None) -> None:
    """Not the records or epochs in between."""
    losses: list[float | None] = [abs(20 - epoch) / 9 if epoch % every == 0 else None for epoch in range(60)]
    run = recording({"loss": [1.0] * 60, "val_loss": losses})
    if step:
        run = replace(run, unit="iteration", steps=step * np.arange(60))
    result = replay([run], EarlyStopping(monitor="val_loss", patience=3))
    found = [note for note in result.notes if "patience counts" in note]
    places = f"{every * step} iterations" if step else f"{every} epochs"
    expected = [] if every == 1 else [f"val_loss has a value every {places}: patience counts its values."]
    assert found == expected
    assert result.outcomes[0].decisions[0].epoch == 20 + 3 * every


def test_the_note_on_a_rare_metric_says_in_how_many_runs() -> None:
    """Others may have it in each epoch, or more rarely."""
    rare = [recording({"val_loss": [1.0 if at % every == 0 else None for at in range(30)]}) for every in (1, 3, 3, 4)]
    (note,) = (note for note in replay(rare, EarlyStopping(monitor="val_loss")).notes if "patience" in note)
    assert note == "in 3 of 4 runs, val_loss has a value every 3 to 4 epochs: patience counts its values."
