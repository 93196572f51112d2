"""The training of the demo with scikit-learn."""

from trainbus.cli.demo import digits
from trainbus.cli.demo.sklearn_training import train


def test_it_learns_digits() -> None:
    """After three epochs the model is right about most of those that are held out."""
    run = train(digits(), [], 3, None)
    assert run.history["val_accuracy"][-1] > 0.85
