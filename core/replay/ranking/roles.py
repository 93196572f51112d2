"""What the name of a metric shows about its role: on which data it is computed, and whether it is a loss."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

from ...metrics.names import words


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HELD_OUT: Final = (
    ("val", "valid", "validation", "validate", "validating"),
    ("eval", "evaluation", "evaluator"),
    ("dev",),
    ("holdout", "held"),
    ("test", "testing", "tests"),
)
"""Words for data that the training does not see; models are chosen by the first ones, and the last one reports."""
_TRAINED: Final = frozenset({"train", "training", "learn", "fit", "trn"})
_HELD_OUT_SHORT: Final = (("vl", "cv"), (), (), (), ("te", "tst"))
"""Abbreviations of the same words, which count only at the beginning or end of a name of several words."""
_TRAINED_SHORT: Final = frozenset({"tr"})
_AVERAGED: Final = _words(
    """total overall all full running avg average mean sum epoch step final set data out dataloader idx metrics metric
    loss losses objective criterion per"""
)
"""Words that a total loss may have besides "loss"; a part of it has others, such as "box" or "kl"."""
_LOSSES: Final = frozenset({"loss", "losses"})
_OTHER_LOSSES: Final = re.compile(
    r"_(nll|nelbo|ppl|perplexity|\w*logloss|log_loss|(cross|x|binary|multi)_?entropy|\w*crossentropy|bp[bcd]|deviance"
    r"|poisson|rmsle|rmse|mse|mae|l_?[12]|mape|smape|huber|pinball|brier|error|err|merror|error_rate)_"
)
_SPEEDS: Final = _words(
    """time times timer timers timestamp second seconds sec secs ms msec minute minutes hour hours speed throughput fps
    sps qps tps rps ips wps ups latency eta elapsed duration dur runtime wall mfu hfu flops flos memory mem"""
)
_SPEED: Final = re.compile(
    r"_per_(s|sec|secs|second|seconds|ms|min|minute|h|hour|day)_"
    r"|_(it|its|iter|iters|iterations|samples?|tokens?|tok|images?|imgs?|steps?|batch(es)?|examples?|rows?)_s_"
    r"|_(s|ms)_(it|iter|iteration|step|batch|sample|token|image|epoch)_"
)
_COUNTERS: Final = _words("num n count counts counter nupdates number tp fp tn fn")
_COUNTER: Final = re.compile(
    r"_(true|false)_(positives?|negatives?)_|_total_(?!loss)\w*(steps|episodes|samples|tokens)_"
)
_SMOOTHED: Final = frozenset({"ema", "swa", "smoothed", "smooth"})
_EXTREMES: Final = frozenset({"best", "min", "max", "std", "worst"})


class Role:
    """What the name of one metric shows.

    Args:
        name: The name as it is logged.
        of_training: Whether the record says that it is computed on the data of the training, even if the name does not.

    >>> role = Role("val/box_loss")
    >>> role.held_out, role.is_loss, role.is_total_loss
    (True, True, False)
    """

    def __init__(self, name: str, *, of_training: bool = False) -> None:
        self.name = name
        self._of_training = of_training
        self.words = words(name)
        self.spelled = f"_{'_'.join(self.words)}_"
        """The words between underscores, for patterns."""

    @cached_property
    def held_out_rank(self) -> int | None:
        """Which kind of held-out data it names, 0 for validation data; None if it names none."""
        kinds = enumerate(zip(_HELD_OUT, _HELD_OUT_SHORT, strict=True))
        found = (rank for rank, (kind, short) in kinds if {*self.words} & {*kind} or {*self._ends} & {*short})
        return next(found, None)

    @property
    def held_out(self) -> bool:
        """Whether it names data that the training does not see."""
        return self.held_out_rank is not None

    @property
    def trained(self) -> bool:
        """Whether it names the data of the training."""
        named = not _TRAINED.isdisjoint(self.words) or not _TRAINED_SHORT.isdisjoint(self._ends)
        return (named or self._of_training) and not self.held_out

    @property
    def is_loss(self) -> bool:
        """Whether it is called a loss."""
        return any(word in _LOSSES for word in self.words)

    @property
    def is_total_loss(self) -> bool:
        """Whether it is a loss, and not called a part of one."""
        return self.is_loss and not self._qualifiers

    @property
    def stands_for_loss(self) -> bool:
        """Whether it is a loss or an error by its own name, such as perplexity."""
        return bool(_OTHER_LOSSES.search(self.spelled))

    @property
    def is_speed(self) -> bool:
        """Whether it tells a speed, a time or memory."""
        return any(word in _SPEEDS for word in self.words) or bool(_SPEED.search(self.spelled))

    @property
    def is_counter(self) -> bool:
        """Whether it counts something."""
        return any(word in _COUNTERS for word in self.words) or bool(_COUNTER.search(self.spelled))

    @property
    def is_running_best(self) -> bool:
        """Whether it is an extreme of other values, such as the best so far."""
        return any(word in _EXTREMES for word in self.words)

    @property
    def is_smoothed(self) -> bool:
        """Whether it is that of averaged weights or values."""
        return any(word in _SMOOTHED for word in self.words)

    @property
    def namespaced(self) -> bool:
        """Whether it is below a heading, as in "accuracy/top1"."""
        return "/" in self.name

    @property
    def length(self) -> int:
        """The number of words that tell what is measured; a name with more of them is about a part."""
        return len(self._qualifiers)

    @cached_property
    def _qualifiers(self) -> tuple[str, ...]:
        """The words that do not only tell the data or the averaging."""
        plain = [*_AVERAGED, *_TRAINED, *(word for kind in _HELD_OUT for word in kind)]
        short = {*_TRAINED_SHORT, *(word for kind in _HELD_OUT_SHORT for word in kind)}.intersection(self._ends)
        return tuple(word for word in self.words if word not in plain and word not in short)

    @property
    def _ends(self) -> tuple[str, ...]:
        """The first and the last word of several."""
        return (self.words[0], self.words[-1]) if len(self.words) > 1 else ()
