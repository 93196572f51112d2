"""Where a loop over batches continues if its batches have another size, or another number of ranks shares them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ...terminal import plural


class LoopSize(NamedTuple):
    """How the samples of a loop over batches are divided."""

    ranks: int = 1
    """The number of processes that train together."""
    batches: int | None = None
    """The batches that one rank's loader gives in the whole loop; None if unknown."""
    batch_size: int | None = None
    """The samples in one of them; None if unknown."""

    def has_batches_of(self, other: LoopSize) -> bool:
        """Return whether a loader's own position counts the same batches in both, as far as their sizes are known."""
        sizes = self.batch_size, other.batch_size
        return self.ranks == other.ranks and (None in sizes or len(set(sizes)) == 1)


class Continuation(NamedTuple):
    """Where a loop continues."""

    batches: int
    """The batches of each rank's loader to pass over."""
    problem: str = ""
    """What is not exact or cannot be known, in one line; empty if every sample is trained on once."""


def continuation(done: int, then: LoopSize, now: LoopSize, *, in_turn: bool = False) -> Continuation:
    """Return where a loop continues after each rank has trained on ``done`` batches.

    A rank's loader gives either its share of the samples, or all samples, of which the loop takes the rank's rows. The
    numbers of batches of the whole loop, then and now, show which of the two is the case. Either way the ranks are
    assumed to take the samples of one order in turn, so that the samples trained on are the first ones of that order.

    Args:
        done: The batches that each rank had trained on.
        then: The size of the loop at that time.
        now: Its size now.
        in_turn: Whether the ranks are known to take the samples in turn, as with a ``DistributedSampler``.

    >>> continuation(3, LoopSize(4, 6, 8), LoopSize(2, 12, 8), in_turn=True)
    Continuation(batches=6, problem='')
    >>> continuation(3, LoopSize(4, 6, 8), LoopSize(2, 6, 16), in_turn=True)
    Continuation(batches=3, problem='')
    """
    sizes = Fraction(then.batch_size, now.batch_size) if then.batch_size and now.batch_size else None
    if then.ranks == now.ranks and sizes in (None, 1):
        return Continuation(done)
    whole = sizes or Fraction(1)
    shares = whole * Fraction(then.ranks, now.ranks)
    factor, doubt = shares, ""
    if then.batches and now.batches is not None:
        if done >= then.batches:
            return Continuation(now.batches)
        off = {each: abs(now.batches - then.batches * each) for each in ([shares] if in_turn else [shares, whole])}
        fitting = [each for each, batches in off.items() if batches < max(Fraction(1), each)]
        factor = min(off, key=lambda each: float(off[each]))
        if not fitting:
            factor = factor if sizes else Fraction(now.batches, then.batches)
            doubt = "the numbers of batches do not show which samples were trained on"
        elif shares in fitting and shares != whole and not in_turn:
            doubt = (
                "only a DistributedSampler shows which samples each rank had; it is assumed that they were the "
                "first ones"
            )
    elif then.ranks != now.ranks and not (in_turn and sizes):
        doubt = "the loader has no size, so it is assumed that every rank had an equal share of the samples"
    exact = done * factor
    batches = int(exact)
    if not doubt and batches != exact:
        among = now.ranks if factor == shares else 1
        twice = plural(int((exact - batches) * now.batch_size * among), "sample") if sizes and now.batch_size else ""
        doubt = f"{twice or 'some samples'} will be trained on twice"
    if not doubt:
        return Continuation(batches)
    had, have = _in_words(done, then), _in_words(batches, now)
    return Continuation(batches, f"the run had trained on {had}, and the loop continues after {have}: {doubt}")


def _in_words(batches: int, size: LoopSize) -> str:
    samples = f" of {size.batch_size} samples" if size.batch_size else ""
    return f"{batches} batch{'es' * (batches != 1)}{samples} on {plural(size.ranks, 'rank')}"
