"""The data of the demo."""

from trainbus.cli.demo import digits


def test_the_digits_are_real_and_held_out() -> None:
    """1,797 digits, a fifth of them held out, pixels from 0 to 1, every digit in both parts."""
    data = digits()

    assert len(data.x) + len(data.x_val) == 1797
    assert len(data.x_val) == 360
    assert data.x.min() == 0
    assert data.x.max() == 1
    assert set(data.y) == set(data.y_val) == set(range(10))
