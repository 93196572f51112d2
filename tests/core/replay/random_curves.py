"""Random curves as trainings have them, and random options, by seed."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from .recorded import History

SEEDS = [
    pytest.param(range(24), id="24 curves"),
    pytest.param(range(24, 1000), id="1,000 curves", marks=pytest.mark.exhaustive),
]
"""For tests that compare with another library's object, a few of the curves by default."""


def random_curve(random: Random, *, gaps: bool = True) -> History:
    """Return a curve that falls, flattens and rises again, with noise and improvements of every size.

    Args:
        random: The source of numbers.
        gaps: Whether some epochs log nothing, or a value that is not finite.
    """
    length = random.randint(10, 90)
    speed, noise, turn = random.uniform(0.02, 0.5), 10 ** random.uniform(-9, -1), random.uniform(0.3, 1.5)
    level = random.choice([0.0, 0.5, 1.0, 100.0])
    found: list[float | None] = []
    for epoch in range(length):
        rise = max(0.0, epoch / length - turn) * random.uniform(0.0, 1.0)
        found.append(level + math.exp(-speed * epoch) + rise + random.gauss(0, noise))
    if random.random() < 0.3:  # as a log with few digits
        found = [None if each is None else round(each, 3) for each in found]
    if gaps and random.random() < 0.4:
        odd = [None, None, math.nan, math.inf, -math.inf]
        found = [random.choice(odd) if random.random() < 0.05 else each for each in found]
        found[-1] = 1.0
    return found


def random_options(random: Random, choices: dict[str, list[Any]]) -> dict[str, Any]:
    """Return one of the values of each option.

    Args:
        random: The source of numbers.
        choices: The values of each option.
    """
    return {name: random.choice(values) for name, values in choices.items()}
