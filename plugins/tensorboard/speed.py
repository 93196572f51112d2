"""How fast a run goes."""

from __future__ import annotations

from time import perf_counter


class Speed:
    """Weight updates a second."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, step: int) -> None:
        """Measure from here, after that many weight updates."""
        self._clock, self._step = perf_counter(), step

    def until(self, step: int) -> float:
        """The speed from where it was measured last until here."""
        clock, before = self._clock, self._step
        self.begin(step)
        return (step - before) / max(self._clock - clock, 1e-9)
