"""A subject with a random generator of its own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any


class DrawingSubject:
    """A subject with its own random generator."""

    def __init__(self) -> None:
        self.generator = random.Random(5)

    def random_state(self) -> Mapping[str, Any]:
        version, words, gauss = self.generator.getstate()
        return {"mine": [version, list(words), gauss]}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        version, words, gauss = state["mine"]
        self.generator.setstate((version, tuple(words), gauss))
