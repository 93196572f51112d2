"""The settings of other libraries."""

from __future__ import annotations

import pytest

from trainbus import SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.replay import replay
from trainbus.replay.libraries.lightning import LightningEarlyStopping
from trainbus.replay.libraries.settings import LIBRARIES, find_library, translate

from ..recorded import recording


def test_options_that_are_not_set_have_the_library_s_defaults() -> None:
    """A patience that is not set is Lightning's 3, not trainbus's 0."""
    assert translate(find_library("lightning"), EarlyStopping(min_delta=0.1)) == LightningEarlyStopping(min_delta=0.1)


def test_options_that_a_library_does_not_have_are_refused_by_name() -> None:
    """Ignite requires a patience, Lightning has no start_from_epoch; options that do not change a stop are dropped."""
    with pytest.raises(SettingsError, match="patience is required"):
        translate(find_library("ignite"), EarlyStopping())
    with pytest.raises(SettingsError, match=r"start_from_epoch: unknown option.*options: .*check_finite"):
        translate(find_library("lightning"), EarlyStopping(start_from_epoch=3))
    assert translate(find_library("ignite"), EarlyStopping(patience=2, verbose=1, restore_best_weights=True))


@pytest.mark.parametrize("by", LIBRARIES)
def test_what_a_library_does_not_decide_is_reported(by: str) -> None:
    """PyTorch has no early stopping, and what has no checkpoints of its own follows trainbus's rules."""
    callbacks = [EarlyStopping(patience=2), ModelCheckpoint("best", save_best_only=True)]
    notes = " ".join(replay([recording([1.0, 2.0])], callbacks, by=by).notes)

    assert ("checkpoints follow trainbus's rules" in notes) is (by in ("torch", "ignite"))
    assert ("PyTorch has no EarlyStopping" in notes) is (by == "torch")
