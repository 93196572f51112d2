"""A process that dies at any moment of a save leaves a whole checkpoint."""

import pytest

from .kills import in_process
from .subjects import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_a_killed_saver_leaves_the_last_or_the_next_whole(name: str) -> None:
    """Of 16 kills none leaves a file that its framework cannot read, mixes two saves, or has not its own memory."""
    counted = in_process(name, "trainbus", 16)

    assert counted["kills"] == counted["whole"] == 16
    assert counted["inside"] >= 8, "the kills fell into saves"
    assert counted["left after the sweep"] == 0
