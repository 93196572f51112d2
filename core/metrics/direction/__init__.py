"""The direction in which a metric improves: as its metric object declares it, or else as its name shows it."""

from .by_name import FIX, direction_of, known_direction, near_miss
from .by_subject import direction_for

__all__ = ["FIX", "direction_for", "direction_of", "known_direction", "near_miss"]
