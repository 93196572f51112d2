"""A library whose rules can be used to replay runs: its settings, and the rules that they configure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, nan
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from trainbus import MonitoredCallback
from trainbus.plugins.frequency import EVERY_EPOCH, Frequency

from ...rules import where
from ..curves import Curves
from .checkpoints.saver import CheckpointSpec

LibraryName = Literal["trainbus", "keras", "torch", "lightning", "ignite", "hf"]
Arguments = Mapping[str, Any]
"""Options by name: numbers, or arrays of numbers."""


def no_arguments(_: Curves) -> Mapping[str, Any]:
    """Return no arguments."""
    return {}


class RuleSpec(NamedTuple):
    """The rule by which a library stops early or reduces the learning rate."""

    settings: type[MonitoredCallback]
    rule: Callable[..., tuple[Any, Any]]
    initial_state: Any
    arguments: Callable[[Arguments, int], dict[str, Any]]
    """Converts options and the sign (1 if higher is better, else -1) to the keyword arguments of ``rule``."""
    store_rate: Callable[[Any], Any] = np.float64
    """Converts learning rates as the library does when it stores them."""
    has_floor: bool = True
    """Whether a rule that reduces the learning rate has the option ``min_lr``."""
    takes_reducible: bool = False
    """Whether ``rule`` takes ``reducible``: whether the rate is above the floor."""
    alternatives: Mapping[str, Callable[..., tuple[Any, Any]]] = MappingProxyType({})
    """The rules that an option ``rule`` chooses in place of ``rule``."""
    recorded: Callable[[Curves], Mapping[str, Any]] = no_arguments
    """Returns further keyword arguments of ``rule`` that depend on the recorded values, [run]."""

    def chosen(self, options: Arguments) -> Callable[..., tuple[Any, Any]]:
        """Return the rule for these options."""
        return self.alternatives.get(options.get("rule", ""), self.rule)


class Library(NamedTuple):
    """A library whose rules can be used to replay runs."""

    name: LibraryName
    title: str
    stopping: RuleSpec
    plateau: RuleSpec
    checkpoints: CheckpointSpec | None = None
    """How its own callback saves checkpoints; None if they follow trainbus's rules."""
    looks: Frequency = EVERY_EPOCH
    """After what the library looks at the metrics, where the record shows it."""
    notes: tuple[str, ...] = ()
    """Notes to show with a result, one sentence each."""
    epoch_notes: tuple[str, ...] = ()
    """Further notes, for loops over epochs."""


def pick(options: Arguments, *names: str) -> dict[str, Any]:
    """Return the options of these names, as far as they are given."""
    return {name: options[name] for name in names if name in options}


def limit_of(best: Any, threshold: Any, scale: Any) -> Any:
    """Return the score that an improvement must exceed; with a ``scale``, the threshold is relative."""
    return where(np.isnan(scale), best + threshold, best * np.asarray(scale))


class LibraryPatience(NamedTuple):
    """State of early stopping in another library: best score, epochs since then, and whether it has seen a score."""

    best: Any = -inf
    wait: Any = 0
    seen: Any = False
    """Whether there was a score; for Keras and Ignite the first score becomes the best, even if it is NaN."""


def bound_of(options: Arguments, name: str, sign: int, none: float) -> Any:
    """Return a bound of the metric as a bound of the score; ``none`` if it is not set (None, or NaN in an array)."""
    bound = options.get(name)
    return none if bound is None else np.where(np.isnan(bound), none, sign * np.asarray(bound))


def threshold_of(options: Arguments, sign: int) -> dict[str, Any]:
    """Return a relative threshold as a factor of the best score; if lower is better, the factor is 1 - threshold."""
    threshold, relative = options["threshold"], options.get("threshold_mode") == "rel"
    return {"threshold": threshold, "scale": 1.0 + sign * threshold if relative else nan}
