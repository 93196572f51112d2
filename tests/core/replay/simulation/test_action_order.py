"""The order of actions, and which of them are exact."""

from __future__ import annotations

from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay import replay

from ..recorded import recording


def test_only_the_first_reduction_that_the_record_does_not_show_is_exact() -> None:
    """Everything after it, including stops and saves, is hypothetical."""
    callbacks = [
        ReduceLROnPlateau(monitor="val_loss", patience=2),
        EarlyStopping(monitor="val_loss", patience=5),
        ModelCheckpoint("{epoch}", monitor="val_loss"),
    ]
    history = {"val_loss": [1.0] * 8, "lr": [0.1] * 8}
    (outcome,) = replay([recording(history)], callbacks).outcomes

    assert [(each.epoch, each.exact) for each in outcome.cuts] == [(2, True), (4, False)]
    assert (outcome.stop.epoch, outcome.stop.exact) == (5, False)
    assert [each.exact for each in outcome.decisions if each.action == "save"] == [True] * 3 + [False] * 3
    assert outcome.hypothetical_from == 2
