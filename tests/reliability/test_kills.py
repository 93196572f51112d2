"""A process that dies at any time during a save leaves a complete checkpoint."""

import pytest

from .kills import IN_BACKGROUND, in_process
from .subjects import KINDS

BY_DEFAULT = [("line", "trainbus"), ("torch", "background")]
ALL = [*((name, "trainbus") for name in KINDS), *((name, "background") for name in IN_BACKGROUND)]


@pytest.mark.parametrize(
    ("name", "writer"),
    [pytest.param(*case, marks=[] if case in BY_DEFAULT else pytest.mark.exhaustive) for case in ALL],
)
def test_a_killed_saver_leaves_the_last_or_the_next_checkpoint(name: str, writer: str) -> None:
    """Of 8 kills none leaves a file that its framework cannot read, mixes two saves, or has foreign plugin state."""
    counted = in_process(name, writer, 8)

    assert counted["kills"] == counted["complete"] == 8
    assert counted["inside"] >= 2, "some kills fell into saves"
    assert counted["left after the sweep"] == 0
