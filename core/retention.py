"""Which checkpoints stay: a pure rule, (those kept, a new one) -> (those kept, verdict).

Scores improve upwards, as everywhere in the rules. What is newer is told by epoch and step, never by a clock.
"""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

__all__ = ["Kept", "Retention", "retention_rule"]


class Kept(NamedTuple):
    """A checkpoint as retention sees it."""

    path: str
    epoch: int
    step: int
    score: float
    """How good it is, higher is better; NaN where nothing tells."""


class Retention(NamedTuple):
    """What retention finds: whether the new checkpoint is saved, on which ground, and which others go."""

    among_best: bool
    among_last: bool
    forget: tuple[str, ...]
    """Paths to forget once the new checkpoint is saved; never its own."""

    @property
    def save(self) -> bool:
        """Whether the new checkpoint stays on any ground, and so is saved at all."""
        return self.among_best or self.among_last


def retention_rule(
    kept: tuple[Kept, ...], new: Kept, *, best: int = 0, last: int = 0
) -> tuple[tuple[Kept, ...], Retention]:
    """Keep the `best` checkpoints of the highest scores and the `last` newest ones; one may be both.

    Of equal scores the earlier one is better, and one that is not finite is never among the best. A path is one entry:
    what is saved there again replaces what it held, so to be among the best it must also beat that.

    >>> a, b, c = Kept("a", 0, 10, 3.0), Kept("b", 1, 20, 1.0), Kept("c", 2, 30, 2.0)
    >>> retention_rule((a, b), c, best=1, last=1)[1]
    Retention(among_best=False, among_last=True, forget=('b',))
    >>> retention_rule((a, b), c, best=1)[1].save
    False
    """
    there = next((each for each in kept if each.path == new.path), None)
    others = [each for each in kept if each.path != new.path]
    pool = sorted([*others, new], key=lambda each: (each.epoch, each.step))
    ranked = sorted((each for each in pool if isfinite(each.score)), key=lambda each: -each.score)
    leaders = {each.path for each in ranked[:best]}
    newest = {each.path for each in pool[-last:]} if last else set[str]()
    beaten = there is None or not isfinite(there.score) or new.score > there.score
    among_best, among_last = new.path in leaders and beaten, new.path in newest
    if not (among_best or among_last):
        return kept, Retention(among_best, among_last, ())
    staying = leaders | newest
    forgotten = tuple(each.path for each in pool if each.path not in staying)
    return tuple(each for each in pool if each.path in staying), Retention(among_best, among_last, forgotten)
