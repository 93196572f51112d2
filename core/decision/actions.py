"""Actions: the operations that a decision can request from a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

from ..errors import SettingsError
from .values import FrozenValues, Value

REQUEST = "request"
"""The ``by`` of a stop that a signal or a stop file requested, and the ``rule`` of actions that clean up after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do, with its reason and the name of the plugin that asked for it."""

    kind: ClassVar[str]
    """Name of the function below that makes it."""
    order: ClassVar[int]
    """Position among the kinds of action of one decision, which are executed in this order."""

    reason: str = ""
    """Why, in words."""
    by: str = ""
    """Name of the plugin that asked for it."""
    rule: str = ""
    """Name of the rule that asked for it, such as a function of ``trainbus.rules``."""
    values: Mapping[str, Value] = field(default=FrozenValues(), repr=False)
    """The rule's input, for the journal: the metric, its value, the best value, the epochs waited, and so on."""

    def __post_init__(self) -> None:
        if not isinstance(cast("object", self.reason), str):
            raise SettingsError(f"{self.kind}: reason={self.reason!r}: give text that says why")
        if not isinstance(self.values, FrozenValues):
            object.__setattr__(self, "values", FrozenValues(self.values))


@dataclass(frozen=True, slots=True)
class ScaleLearningRate(Action):
    """Multiply every learning rate by ``factor``, but not below ``floor``."""

    kind: ClassVar[str] = "scale_learning_rate"
    order: ClassVar[int] = 0
    factor: float
    floor: float = 0.0

    def applied_to(self, rate: float) -> float:
        """Return the new rate; a rate at or below the floor does not change.

        >>> ScaleLearningRate(0.1, floor=0.02).applied_to(0.1)
        0.02
        >>> ScaleLearningRate(0.1, floor=0.02).applied_to(0.01)
        0.01
        """
        return max(rate * self.factor, self.floor) if rate > self.floor else rate


@dataclass(frozen=True, slots=True)
class Keep(Action):
    """Copy the subject's present state to memory, under the name ``slot``."""

    kind: ClassVar[str] = "keep"
    order: ClassVar[int] = 1
    slot: str


@dataclass(frozen=True, slots=True)
class Save(Action):
    """Write the subject to the file ``path``."""

    kind: ClassVar[str] = "save"
    order: ClassVar[int] = 2
    path: str
    weights_only: bool = False
    on_error: Literal["raise", "warn"] = "raise"
    """Whether the run ends or continues with a warning if the file cannot be written; one "raise" is enough."""
    background: bool | None = False
    """Whether to write while the training continues; None does so if the subject can. One False is enough to wait."""
    link: str = ""
    """A link that leads to the file once it is complete: its path, relative to the directory of the file."""


@dataclass(frozen=True, slots=True)
class Restore(Action):
    """Restore the subject from ``source``, a slot or a file."""

    kind: ClassVar[str] = "restore"
    order: ClassVar[int] = 3
    source: str


@dataclass(frozen=True, slots=True)
class Forget(Action):
    """Delete the file or the slot named ``source``."""

    kind: ClassVar[str] = "forget"
    order: ClassVar[int] = 4
    source: str


@dataclass(frozen=True, slots=True)
class Stop(Action):
    """End the training in an orderly way."""

    kind: ClassVar[str] = "stop"
    order: ClassVar[int] = 5
