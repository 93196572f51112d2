"""The best of the values that are known at a moment is that of the rule that live monitors step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins.frequency import EVERY_EPOCH
from trainbus.replay.curves import build_curves
from trainbus.replay.metric_choice import MetricChoice
from trainbus.replay.simulation.known_values import values_at
from trainbus.rules import Best, best_rule

from ..recorded import History, histories, recording


@given(histories, st.sampled_from(["min", "max"]), st.integers(0, 8))
def test_the_best_value_is_that_of_the_rule(history: History, mode: str, epoch: int) -> None:
    """The first of the highest finite scores up to a moment."""
    run = recording(history)
    choice = MetricChoice("val_loss", mode, "")  # type: ignore[arg-type]
    known = values_at([(EVERY_EPOCH, build_curves([run], choice))], 0, run).until((epoch, np.inf))
    state = Best()
    for number, value in enumerate(history[: epoch + 1]):
        if value is not None:
            state, _ = best_rule(state, choice.sign * value, number)
    best = known.best(choice.sign, {})

    assert (best is None) == (state.epoch == -1)
    if best is not None:
        assert (best.value, best.epoch) == (choice.sign * state.score, state.epoch)
