"""Stops of early stopping, beside a live run."""

from __future__ import annotations

from typing import Any

from trainbus.plugins import ReduceLROnPlateau
from trainbus.replay import replay
from trainbus.testing import LineSubject, scripted

from ..recorded import recording


def test_a_live_run_and_its_replay_decide_the_same() -> None:
    """Of groups with floors of their own, until none may be cut."""

    class Rates(LineSubject):
        def __init__(self) -> None:
            super().__init__()
            self.rates = {"learning_rate/0": 0.4, "learning_rate/1": 0.1, "learning_rate/2": 0.4}

        def learning_rates(self) -> Any:
            return dict(self.rates)

        def set_learning_rates(self, rates: Any) -> None:
            self.rates.update(rates)

    floors = {"learning_rate/0": 0.15, "learning_rate/1": 0.01}
    callback = ReduceLROnPlateau(patience=2, factor=0.5, min_lr=floors, groups=list(floors), eps=1e-3)
    run, decided = scripted([{"val_loss": 1.0}] * 16, callback, Rates())
    (outcome,) = replay([recording(dict(run.history))], callback).outcomes

    assert [epoch for epoch, _ in decided] == [each.epoch for each in outcome.cuts] == [2, 4, 6, 8]
    assert all(each.exact for each in outcome.cuts)
