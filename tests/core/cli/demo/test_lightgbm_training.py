"""The training of the demo with LightGBM."""

import pytest

pytest.importorskip("lightgbm")

from trainbus.cli.demo import digits
from trainbus.cli.demo.lightgbm_training import train


def test_it_learns_digits() -> None:
    """After three epochs the model is right about most of those that are held out."""
    run = train(digits(), [], 3, None)
    assert run.history["val_multi_logloss"][-1] < 1.5
