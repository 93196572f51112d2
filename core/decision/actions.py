"""Actions: the operations that a decision can request from a run."""

from __future__ import annotations

import os
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
    """Multiply every learning rate, or those of ``groups``, by ``factor``, but not below ``floor``."""

    kind: ClassVar[str] = "scale_learning_rate"
    order: ClassVar[int] = 0
    factor: float
    floor: float | Mapping[str, float] = 0.0
    """The lowest new rate, or that of each name; a rate that is not named has none."""
    groups: tuple[str, ...] = ()
    """The names of the rates; empty for all."""
    eps: float = 0.0
    """A cut that is not larger than this changes nothing."""

    def __post_init__(self) -> None:
        Action.__post_init__(self)  # super() does not work in a class with slots
        if isinstance(self.floor, Mapping) and not isinstance(self.floor, FrozenValues):
            object.__setattr__(self, "floor", FrozenValues(self.floor))
        object.__setattr__(self, "groups", tuple(sorted(set(self.groups))))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of rates that it mentions."""
        return (*self.groups, *(self.floor if isinstance(self.floor, Mapping) else ()))

    def floor_of(self, name: str) -> float:
        """Return the lowest new value of the rate with this name."""
        return self.floor.get(name, 0.0) if isinstance(self.floor, Mapping) else self.floor

    def applied_to(self, rate: float, name: str = "learning_rate") -> float:
        """Return the new value of the rate with this name; a rate at or below its floor does not change.

        >>> ScaleLearningRate(0.1, floor=0.02).applied_to(0.1)
        0.02
        >>> ScaleLearningRate(0.1, floor=0.02).applied_to(0.01)
        0.01
        """
        floor = self.floor_of(name)
        if rate <= floor or (self.groups and name not in self.groups):
            return rate
        new = max(rate * self.factor, floor)
        return rate if 0 <= rate - new <= self.eps else new


@dataclass(frozen=True, slots=True)
class SetLearningRate(Action):
    """Set every learning rate to ``rate``, or each named one to its own, multiplied by the cuts of the run so far."""

    kind: ClassVar[str] = "set_learning_rate"
    order: ClassVar[int] = 0
    rate: float | Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of rates that it mentions."""
        return tuple(self.rate) if isinstance(self.rate, Mapping) else ()

    def __post_init__(self) -> None:
        Action.__post_init__(self)  # super() does not work in a class with slots
        if isinstance(self.rate, Mapping) and not isinstance(self.rate, FrozenValues):
            object.__setattr__(self, "rate", FrozenValues(self.rate))

    def asked_for(self, name: str) -> float | None:
        """Return the rate that is asked for under this name; None if there is none.

        >>> SetLearningRate({"learning_rate/head": 0.1}).asked_for("learning_rate/body") is None
        True
        """
        return self.rate.get(name) if isinstance(self.rate, Mapping) else self.rate


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
    link: str | Mapping[str, str] = ""
    """A link that leads to the file once it is complete: its path, relative to the directory of the file. Of several
    files, the link of each, by the name of its model."""
    parts: Mapping[str, str] = cast("Mapping[str, str]", FrozenValues())
    """Name of each model to the name of its file, if each of several has one. All are in the directory of ``path``,
    which is the path of one of them."""
    content_optional: bool = False
    """Whether the file holds the training state alone if the user's own content cannot be made."""
    for_inspection: bool = False
    """Whether a resume by "auto" or from the directory never continues from the file."""

    def __post_init__(self) -> None:
        Action.__post_init__(self)  # super() does not work in a class with slots
        for name in ("link", "parts"):
            value: object = getattr(self, name)
            if isinstance(value, Mapping) and not isinstance(value, FrozenValues):
                object.__setattr__(self, name, FrozenValues(cast("Mapping[str, str]", value)))

    @property
    def part_paths(self) -> Mapping[str, str]:
        """The path of the file of each model, if each of several has one.

        >>> dict(Save("run/G-1.pt", parts={"netG": "G-1.pt", "netD": "D-1.pt"}).part_paths)
        {'netG': 'run/G-1.pt', 'netD': 'run/D-1.pt'}
        """
        start = max(map(self.path.rfind, ("/", os.sep))) + 1
        return {part: self.path[:start] + name for part, name in self.parts.items()}

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all files, ``path`` first."""
        return tuple(dict.fromkeys((self.path, *self.part_paths.values())))

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """The path of each file that gets a link, and this link, that of ``path`` first."""
        if isinstance(self.link, str):
            return ((self.path, self.link),) if self.link else ()
        link = self.link
        found = [(path, link[part]) for part, path in self.part_paths.items() if part in link]
        return tuple(sorted(found, key=lambda each: each[0] != self.path))


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
    unless_cut: bool = False
    """Whether a cut of the learning rate in the same decision cancels this stop."""
