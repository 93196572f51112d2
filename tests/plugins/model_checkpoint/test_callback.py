"""Tests of ModelCheckpoint's checks before training."""

import pytest

from trainbus import Run, SettingsError, UnknownDirection
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject


def test_a_suffix_that_the_subject_cannot_write_is_refused_before_training() -> None:
    """The error names the suffixes that it can write."""
    with pytest.raises(SettingsError, match=r"ModelCheckpoint: .*this model cannot be saved as \.keras; write \.npz"):
        Run(LineSubject(), ModelCheckpoint("best.keras"))


def test_fixed_names_of_two_callbacks_in_one_directory_clash() -> None:
    """Two callbacks that would write the same file "last" are rejected, as is one whose filepath is that file."""
    last = ModelCheckpoint("a-{epoch}.npz", save_last=True)
    for other in (ModelCheckpoint("b-{epoch}.npz", save_last=True), ModelCheckpoint("last.npz")):
        with pytest.raises(SettingsError, match=r"two callbacks would write '.*last\.npz'"):
            Run(LineSubject(), [last, other])


def test_keeping_the_best_needs_a_direction() -> None:
    """With keep the metric is monitored: a name without a known direction is rejected before training."""
    with pytest.raises(UnknownDirection, match="mode="):
        Run(LineSubject(), ModelCheckpoint("{epoch}", monitor="grad_norm", keep=2))
