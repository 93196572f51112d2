"""trainbus's own rules among those of other libraries."""

from __future__ import annotations

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.replay.libraries.own import TRAINBUS


def test_every_option_that_changes_a_score_or_a_count_reaches_its_rule() -> None:
    """The arguments of the rules are named like the options, or follow from how two values compare."""
    options = EarlyStopping(patience=3, baseline=0.5, min_epochs=2, cumulative_delta=False).model_dump()
    stopping = TRAINBUS.stopping.arguments(options, -1)
    assert (stopping["patience"], stopping["baseline"], stopping["min_epochs"]) == (3, -0.5, 2)
    assert stopping["creeping"]

    plateau = TRAINBUS.plateau.arguments(ReduceLROnPlateau(patience=4, cooldown=2).model_dump(), 1)
    assert (plateau["patience"], plateau["cooldown"]) == (4, 2)
