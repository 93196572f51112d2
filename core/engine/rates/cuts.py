"""The cuts that a run has made of its learning rates, and the rates without them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from math import isclose

from ...resume.state import UncutRate

SAME = 1e-6
"""Relative difference up to which two rates are equal: frameworks store them in single precision."""


class Cuts:
    """For each learning rate that the run has changed: the product of its cuts, and the rate without them."""

    def __init__(self) -> None:
        self.rates: dict[str, UncutRate] = {}
        """The rates that the run has changed, by name; a checkpoint stores this."""

    def applied(self, name: str, rate: float) -> float:
        """Return what the cuts make of a rate that is asked for, which is not below the floor of the cuts.

        If cuts had different floors, the lowest applies.

        >>> cuts = Cuts()
        >>> cuts.note_cut("learning_rate", 0.5, 0.04)
        >>> [cuts.applied("learning_rate", rate) for rate in (0.1, 0.06, 0.03)]
        [0.05, 0.04, 0.03]
        """
        known = self.rates.get(name)
        if known is None or known.product == 1.0:
            return rate
        return max(rate * known.product, min(known.floor, rate))

    def without(self, present: Mapping[str, float]) -> dict[str, float]:
        """Return the rates as they would be if the run had made no cut.

        Args:
            present: The present rates; what else has changed a rate since the run did counts as a factor.
        """
        return {name: self._without(self.rates.get(name), rate) for name, rate in present.items()}

    def _without(self, known: UncutRate | None, rate: float) -> float:
        if known is None or known.product == 1.0:
            return rate
        if rate == known.rate or not known.rate:
            return known.uncut
        return known.uncut * rate / known.rate

    def note_cut(self, name: str, factor: float, floor: float) -> None:
        """Store that a rate was cut; ``note_rates`` follows."""
        known = self.rates.get(name, UncutRate())
        self.rates[name] = known.model_copy(
            update={
                "product": min(known.product * factor, sys.float_info.max),
                "floor": floor if known.product == 1.0 else min(known.floor, floor),
            }
        )

    def note_rates(self, present: Mapping[str, float], uncut: Mapping[str, float], names: Iterable[str]) -> None:
        """Store the present rates, and what they would be without cuts, of these names."""
        for name in names:
            known = self.rates.get(name, UncutRate())
            self.rates[name] = known.model_copy(update={"rate": present[name], "uncut": uncut[name]})

    def note_set(self, names: Iterable[str], epoch: int) -> None:
        """Store that rates were set in this epoch."""
        for name in names:
            self.rates[name] = self.rates[name].model_copy(update={"set_in": epoch})

    def changed_since_set(self, name: str, present: float) -> UncutRate | None:
        """Return what is known of a rate that the run has set, if something else has changed it since."""
        known = self.rates.get(name)
        if known is None or known.set_in is None or isclose(known.rate, present, rel_tol=SAME):
            return None
        return known

    def resume(self, rates: Mapping[str, UncutRate], present: Mapping[str, float]) -> None:
        """Continue with the cuts of a checkpoint.

        Args:
            rates: What the checkpoint stores.
            present: The rates that the subject has now; the script may have replaced those of the checkpoint.
        """
        self.rates = {name: each for name, each in rates.items() if name in present}
        self.note_rates(present, self.without(present), self.rates)

    def note_restored(self, present: Mapping[str, float]) -> None:
        """Store that the subject was restored, maybe with the rates of an earlier time; the cuts of the run remain."""
        known = {name: each.uncut for name, each in self.rates.items() if name in present}
        self.note_rates(present, known, known)
