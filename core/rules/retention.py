"""Which checkpoints are kept: the best and the last."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple


class Kept(NamedTuple):
    """A checkpoint that retention keeps."""

    path: str
    epoch: int
    step: int
    score: float
    """Higher is better; NaN if unknown."""


class Retention(NamedTuple):
    """Verdict of retention: whether the new checkpoint is saved, why, and which others are deleted."""

    among_best: bool
    among_last: bool
    forget: tuple[str, ...]
    """Paths to delete after the new checkpoint is saved; its own path is not among them."""

    @property
    def save(self) -> bool:
        """Whether the new checkpoint is saved."""
        return self.among_best or self.among_last


def retention_rule(
    kept: tuple[Kept, ...], new: Kept, *, best: int = 0, last: int = 0
) -> tuple[tuple[Kept, ...], Retention]:
    """Keep the ``best`` checkpoints with the highest scores and the ``last`` newest ones; one checkpoint may be both.

    Of equal scores the earlier is better; a score that is not finite is never among the best. A new checkpoint at the
    path of a kept one replaces it, so it must beat the old score to be among the best.

    Args:
        kept: The checkpoints that are kept so far.
        new: The checkpoint that could be saved.
        best: How many of the highest scores to keep.
        last: How many of the newest checkpoints to keep.

    Returns:
        The checkpoints that are kept now, and the verdict.

    >>> a, b, c = Kept("a", 0, 10, 3.0), Kept("b", 1, 20, 1.0), Kept("c", 2, 30, 2.0)
    >>> retention_rule((a, b), c, best=1, last=1)[1]
    Retention(among_best=False, among_last=True, forget=('b',))
    >>> retention_rule((a, b), c, best=1)[1].save
    False
    """
    replaced = next((each for each in kept if each.path == new.path), None)
    others = [each for each in kept if each.path != new.path]
    pool = sorted([*others, new], key=lambda each: (each.epoch, each.step))
    ranked = sorted((each for each in pool if isfinite(each.score)), key=lambda each: -each.score)
    leaders = {each.path for each in ranked[:best]}
    newest = {each.path for each in pool[-last:]} if last else set[str]()
    beaten = replaced is None or not isfinite(replaced.score) or new.score > replaced.score
    among_best, among_last = new.path in leaders and beaten, new.path in newest
    if not (among_best or among_last):
        return kept, Retention(among_best, among_last, ())
    staying = leaders | newest
    forgotten = tuple(each.path for each in pool if each.path not in staying)
    return tuple(each for each in pool if each.path in staying), Retention(among_best, among_last, forgotten)
