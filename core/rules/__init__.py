"""The rules behind decisions: pure functions ``(state, observation) -> (state, verdict)``.

A *state* is a named tuple with everything that a rule keeps from earlier epochs; its defaults are the state before the
first epoch. An *observation* is what happens now, usually the score of an epoch. A *verdict* is the result: whether the
score improved, whether to stop, to reduce the learning rate, or to save. A rule has no side effects; the caller keeps
the new state and acts on the verdict.

No rule branches on a value, so that the same function steps one run (Python scalars) or thousands of runs at once
(NumPy arrays as state or as settings). Higher scores are better: the caller negates a metric for which lower is better,
which is exact in IEEE arithmetic.

By default, the rules are those of the callbacks of Keras 3.15.1 with one exception: a score that is not finite is never
an improvement (in Keras, a NaN in the first epoch stays the best value).

>>> state = Patience()
>>> for epoch, score in enumerate([1.0, 2.0, 1.5, 1.6]):
...     state, verdict = stopping_rule(state, score, epoch, patience=2)
>>> state, verdict.stop
(Patience(best=2.0, best_epoch=1, wait=2, second=-inf), True)
"""

from .improvement import Best, Comparison, best_rule, breaks_tie, compare, improves
from .intervals import Intervals, crossing_rule, interval_rule
from .numbers import where
from .plateau import (
    Plateau,
    PlateauCount,
    PlateauVerdict,
    count_as_keras,
    count_as_torch,
    plateau_rule,
    torch_plateau_rule,
)
from .retention import Kept, Retention, retention_rule
from .stopping import (
    Patience,
    StoppingVerdict,
    ThresholdVerdict,
    early_stopping_rule,
    held_back,
    stopping_rule,
    threshold_rule,
)

__all__ = [
    "Best",
    "Comparison",
    "Intervals",
    "Kept",
    "Patience",
    "Plateau",
    "PlateauCount",
    "PlateauVerdict",
    "Retention",
    "StoppingVerdict",
    "ThresholdVerdict",
    "best_rule",
    "breaks_tie",
    "compare",
    "count_as_keras",
    "count_as_torch",
    "crossing_rule",
    "early_stopping_rule",
    "held_back",
    "improves",
    "interval_rule",
    "plateau_rule",
    "retention_rule",
    "stopping_rule",
    "threshold_rule",
    "torch_plateau_rule",
    "where",
]
