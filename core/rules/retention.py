"""Which checkpoints are kept: the best and the last."""

from __future__ import annotations

from math import inf, isfinite
from typing import NamedTuple

from .improvement import breaks_tie


class Kept(NamedTuple):
    """A checkpoint that retention keeps."""

    path: str
    epoch: int
    step: int
    score: float
    """Higher is better; NaN if unknown."""
    second: float = -inf
    """The score of a second metric, which breaks ties; -inf if unknown."""


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
    kept: tuple[Kept, ...], new: Kept, *, best: int = 0, last: int = 0, ties: bool = False
) -> tuple[tuple[Kept, ...], Retention]:
    """Keep the ``best`` checkpoints with the highest scores and the ``last`` newest ones; one checkpoint may be both.

    Of equal scores, the one with the higher second score is better, then the earlier one. A score that is not finite is
    never among the best. A new checkpoint at the path of a kept one replaces it, so it must be better than that one to
    be among the best.

    Args:
        kept: The checkpoints that are kept so far.
        new: The checkpoint that could be saved.
        best: How many of the highest scores to keep.
        last: How many of the newest checkpoints to keep.
        ties: Whether the newer of equal scores is the better one, if the second score does not decide.

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
    finite = [each for each in (reversed(pool) if ties else pool) if isfinite(each.score)]
    ranked = sorted(finite, key=lambda each: (-each.score, -each.second if isfinite(each.second) else inf))
    leaders = {each.path for each in ranked[:best]}
    newest = {each.path for each in pool[-last:]} if last else set[str]()
    beaten = replaced is None or not isfinite(replaced.score) or new.score > replaced.score
    if replaced is not None and new.score == replaced.score:
        beaten = bool(breaks_tie(new.second, replaced.second, ties))
    among_best, among_last = new.path in leaders and beaten, new.path in newest
    if not (among_best or among_last):
        return kept, Retention(among_best, among_last, ())
    staying = leaders | newest
    forgotten = tuple(each.path for each in pool if each.path not in staying)
    return tuple(each for each in pool if each.path in staying), Retention(among_best, among_last, forgotten)
