"""A monitored metric has a direction before the training begins."""

import pytest

import trainbus.testing
from trainbus import UnknownDirection
from trainbus.plugins import EarlyStopping, ModelCheckpoint


def test_an_unknown_direction_is_refused_before_training() -> None:
    """A name without a known direction is refused with a sentence that names mode=, unless the mode is given."""
    with pytest.raises(UnknownDirection, match=r"EarlyStopping.*mode="):
        trainbus.Run(callbacks=EarlyStopping(monitor="grad_norm"))
    trainbus.Run(callbacks=EarlyStopping(monitor="grad_norm", mode="min"))


@pytest.mark.parametrize("name", ["val_acuracy", "val_los", "valid/Precison"])
def test_a_slip_in_the_name_of_a_metric_is_named_before_training(name: str) -> None:
    """Before the advice to write the mode, which would let the slip through."""
    with pytest.raises(UnknownDirection, match=f"^EarlyStopping: '{name}' is not a known metric; did you mean"):
        trainbus.Run(None, EarlyStopping(monitor=name))


def test_a_checkpoint_that_saves_always_needs_no_direction() -> None:
    """Without save_best_only the monitored metric does not matter."""
    assert not list(ModelCheckpoint("x", monitor="grad_norm").validate_for(trainbus.testing.LineSubject()))
