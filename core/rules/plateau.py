"""When the learning rate is reduced: on a plateau of the score."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .improvement import Comparison, compare
from .numbers import Number, where


class Plateau(NamedTuple):
    """State of reducing the learning rate: the best score, epochs waited, epochs of cooldown left, the second score."""

    best: Number = -inf
    wait: Number = 0
    cooldown: Number = 0
    second: Number = -inf


class PlateauVerdict(NamedTuple):
    """Verdict of reducing the learning rate on a plateau."""

    improved: Number
    reduce: Number
    best: Number
    """Whether the score is the best so far; with ``creeping``, a score may be that and still no improvement."""


class PlateauCount(NamedTuple):
    """The epochs waited and the epochs of cooldown left after an epoch, and whether the rate is reduced."""

    wait: Number
    cooldown: Number
    reduce: Number


def count_as_keras(
    wait: Number, cooling: Number, improved: Number, *, patience: Number, cooldown: Number, reducible: Number
) -> PlateauCount:
    """Count an epoch as Keras does: reduce after ``patience`` epochs, then pause ``cooldown - 1`` epochs.

    Args:
        wait: Epochs waited before this one.
        cooling: Epochs of cooldown that were left before this one.
        improved: Whether the epoch has improved.
        patience: Epochs without improvement after which to reduce; 0 means 1.
        cooldown: Epochs to wait after a reduction, including its own epoch.
        reducible: Whether any rate is above its floor. If none is, ``wait`` keeps growing and no cooldown begins.

    Source: keras 3.15.1, ``ReduceLROnPlateau.on_epoch_end``, whose cooldown counts the epoch in which it ends.

    >>> count_as_keras(1, 0, False, patience=2, cooldown=3, reducible=True)
    PlateauCount(wait=0, cooldown=3, reduce=True)
    """
    rest = cooling - 1 * (cooling > 0)
    waits = (improved ^ True) & (rest == 0)
    waited = where(improved | (cooling > 0), 0, wait) + waits
    reduce = waits & (waited >= patience) & reducible
    return PlateauCount(where(reduce, 0, waited), where(reduce, cooldown, rest), reduce)


def count_as_torch(
    wait: Number, cooling: Number, improved: Number, *, patience: Number, cooldown: Number
) -> PlateauCount:
    """Count an epoch as PyTorch does: reduce after more than ``patience`` epochs, then pause ``cooldown`` epochs.

    A reduction is counted even if every rate is at its floor. The arguments are those of ``count_as_keras``.

    Source: torch 2.13, ``torch.optim.lr_scheduler.ReduceLROnPlateau.step``.

    >>> count_as_torch(1, 0, False, patience=2, cooldown=3), count_as_torch(2, 0, False, patience=2, cooldown=3)
    (PlateauCount(wait=2, cooldown=0, reduce=False), PlateauCount(wait=0, cooldown=3, reduce=True))
    """
    waited = where(improved | (cooling > 0), 0, wait + 1)
    reduce = waited > patience
    return PlateauCount(where(reduce, 0, waited), where(reduce, cooldown, cooling - 1 * (cooling > 0)), reduce)


def plateau_rule(
    state: Plateau,
    score: Number,
    *,
    patience: Number = 10,
    min_delta: Number = 1e-4,
    relative_delta: Number = 0.0,
    cooldown: Number = 0,
    reducible: Number = True,
    creeping: Number = False,
    second: Number = -inf,
    ties: Number = False,
) -> tuple[Plateau, PlateauVerdict]:
    """Reduce when the score has not improved for ``patience`` epochs; count them as Keras does.

    Args:
        state: The state after the previous epoch.
        score: The score of the epoch; higher is better.
        patience: As in ``count_as_keras``.
        min_delta: The difference that an improvement must exceed.
        relative_delta: The same as a fraction of the magnitude of the best score; one of the two is 0.
        cooldown: As in ``count_as_keras``.
        reducible: As in ``count_as_keras``.
        creeping: Whether a better score becomes the best even if it is no improvement.
        second: The score of a second metric: of equal scores, the one with the higher second score is better.
        ties: Whether the newer of equal scores is the better one, if the second score does not decide.

    >>> state, _ = plateau_rule(Plateau(), 1.0, patience=1)
    >>> plateau_rule(state, 1.0, patience=1, cooldown=2)[1]
    PlateauVerdict(improved=False, reduce=True, best=False)
    """
    found = compare(
        state,
        score,
        second,
        state.best,
        min_delta=min_delta,
        relative_delta=relative_delta,
        ties=ties,
        creeping=creeping,
    )
    count = count_as_keras(
        state.wait, state.cooldown, found.improved, patience=patience, cooldown=cooldown, reducible=reducible
    )
    return _after(found, count), PlateauVerdict(found.improved, count.reduce, found.is_best)


def torch_plateau_rule(
    state: Plateau,
    score: Number,
    *,
    patience: Number = 10,
    min_delta: Number = 0.0,
    relative_delta: Number = 1e-4,
    cooldown: Number = 0,
    reducible: Number = True,
    creeping: Number = False,
    second: Number = -inf,
    ties: Number = False,
) -> tuple[Plateau, PlateauVerdict]:
    """Reduce when the score has not improved for more than ``patience`` epochs; count them as PyTorch does.

    The arguments are those of ``plateau_rule``, but ``reducible`` only says whether the verdict asks for a reduction.
    Two details differ from PyTorch: a score that is not finite never improves, and if the best score is negative, a
    worse one is no relative improvement.

    >>> state, _ = torch_plateau_rule(Plateau(), 1.0, patience=1)
    >>> state, verdict = torch_plateau_rule(state, 1.0, patience=1)
    >>> verdict.reduce, torch_plateau_rule(state, 1.0, patience=1)[1].reduce
    (False, True)
    """
    raised = state.best + min_delta  # PyTorch raises the best, Keras lowers the score: the last bit may differ
    found = compare(state, score, second, raised, relative_delta=relative_delta, ties=ties, creeping=creeping)
    count = count_as_torch(state.wait, state.cooldown, found.improved, patience=patience, cooldown=cooldown)
    return _after(found, count), PlateauVerdict(found.improved, count.reduce & reducible, found.is_best)


def _after(found: Comparison, count: PlateauCount) -> Plateau:
    return Plateau(found.best, count.wait, count.cooldown, found.second)
