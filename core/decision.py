"""What to do: the one type with which plugins answer, and its join.

A decision is a set of actions. Joining is set union, so it is commutative, associative and idempotent, with `NOTHING`
as identity: neither the order of the plugins nor a repeated answer can change what happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any, ClassVar, Literal, TypeAlias

__all__ = [
    "NOTHING",
    "REQUEST",
    "Action",
    "Decision",
    "Forget",
    "FrozenValues",
    "Keep",
    "Restore",
    "Save",
    "ScaleLearningRate",
    "Stop",
    "Value",
    "forget",
    "join",
    "keep",
    "restore",
    "save",
    "scale_learning_rate",
    "stop",
]


Value: TypeAlias = bool | int | float | str | None


class FrozenValues(Mapping[str, Value]):
    """A mapping that is hashable, so that the actions that carry it stay values; a NaN equals a NaN.

    >>> FrozenValues({"wait": 3, "best": float("nan")}) == FrozenValues({"best": float("nan"), "wait": 3})
    True
    >>> FrozenValues({"wait": 3})
    {'wait': 3}
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values = {name: _plain(value) for name, value in (values or {}).items()}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        # Python compares what is in a mapping by identity first, which makes the one NaN equal to itself
        return self._values == (other._values if isinstance(other, FrozenValues) else other)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


def _plain(value: Any) -> Value:
    """NumPy's numbers and tensors of one as Python's, and every NaN as the one."""
    plain = value.item() if hasattr(value, "item") else value
    return nan if plain != plain else plain


REQUEST = "request"
"""Who asks, where a signal or a stop file asks for the end of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do, with its reason in words and in values, and the name of the plugin that asked."""

    kind: ClassVar[str]
    """What it is called: the function below that makes it."""
    order: ClassVar[int]
    """When this kind of action is carried out, relative to the others of the same decision."""

    reason: str = ""
    by: str = ""
    rule: str = ""
    """The rule that asked for it: a function of `trainbus.rules`, say."""
    values: Mapping[str, Value] = field(default=FrozenValues(), repr=False)
    """What the rule saw, as the journal keeps it: the metric, its value, the best, how long it has waited ..."""

    def __post_init__(self) -> None:
        if not isinstance(self.values, FrozenValues):
            object.__setattr__(self, "values", FrozenValues(self.values))


@dataclass(frozen=True, slots=True)
class ScaleLearningRate(Action):
    """Multiply every learning rate by `factor`, but take none below `floor`."""

    kind: ClassVar[str] = "scale_learning_rate"
    order: ClassVar[int] = 0
    factor: float
    floor: float = 0.0

    def applied_to(self, rate: float) -> float:
        """The rate that follows from `rate`; one that is at or below the floor already stays as it is.

        >>> ScaleLearningRate(0.1, floor=0.02).applied_to(0.1)
        0.02
        >>> ScaleLearningRate(0.1, floor=0.02).applied_to(0.01)
        0.01
        """
        return max(rate * self.factor, self.floor) if rate > self.floor else rate


@dataclass(frozen=True, slots=True)
class Keep(Action):
    """Remember the subject's present state in memory under the name `slot`."""

    kind: ClassVar[str] = "keep"
    order: ClassVar[int] = 1
    slot: str


@dataclass(frozen=True, slots=True)
class Save(Action):
    """Write the subject to the file `path`."""

    kind: ClassVar[str] = "save"
    order: ClassVar[int] = 2
    path: str
    weights_only: bool = False
    on_error: Literal["raise", "warn"] = "raise"
    """Whether the run ends where the file cannot be written, or goes on with a warning. Of several who ask for one
    file anyone can have the run end."""
    background: bool | None = False
    """Whether it is written while the training goes on, None for wherever the subject can be; anyone who asks for a
    file of the same decision can have the training wait."""


@dataclass(frozen=True, slots=True)
class Restore(Action):
    """Bring the subject back to what `source`, a slot or a file, holds."""

    kind: ClassVar[str] = "restore"
    order: ClassVar[int] = 3
    source: str


@dataclass(frozen=True, slots=True)
class Forget(Action):
    """Delete the file or the slot named `source`."""

    kind: ClassVar[str] = "forget"
    order: ClassVar[int] = 4
    source: str


@dataclass(frozen=True, slots=True)
class Stop(Action):
    """End the training in good order."""

    kind: ClassVar[str] = "stop"
    order: ClassVar[int] = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """What plugins ask for: a set of actions that joins with others by `|`.

    Iterating gives the actions in the order in which the bus carries them out, whatever the order of the answers:
    learning rate, keep, save, restore, forget, stop.

    >>> both = stop("no progress") | restore("best", "best epoch")
    >>> [type(action).__name__ for action in both]
    ['Restore', 'Stop']
    >>> both | both == both
    True
    >>> bool(NOTHING)
    False
    """

    actions: frozenset[Action] = field(default=frozenset())

    def __or__(self, other: Decision) -> Decision:
        return Decision(self.actions | other.actions)

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __iter__(self) -> Iterator[Action]:
        return iter(sorted(self.actions, key=lambda action: (action.order, repr(action), repr(action.values))))

    @property
    def stops(self) -> bool:
        """Whether the training ends."""
        return any(isinstance(action, Stop) for action in self.actions)

    @property
    def askers(self) -> frozenset[str]:
        """The names of those who asked."""
        return frozenset(action.by for action in self.actions)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in words: one reason an action, in the order of the actions, each said once."""
        return tuple(dict.fromkeys(action.reason for action in self if action.reason))

    def signed(self, name: str) -> Decision:
        """The same decision, with `name` as the asker of every action that does not name one yet."""
        return Decision(frozenset(action if action.by else replace(action, by=name) for action in self.actions))


NOTHING = Decision()
"""The empty decision, identity of the join."""


def stop(reason: str, *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """End the training in good order, because of `reason`.

    As for every action, the journal keeps the name of the rule that asked for it, and the values that the rule saw.
    """
    return Decision(frozenset([Stop(reason=reason, rule=rule, values=FrozenValues(values))]))


def save(
    path: str,
    *,
    weights_only: bool = False,
    on_error: Literal["raise", "warn"] = "raise",
    background: bool | None = False,
    reason: str = "",
    rule: str = "",
    values: Mapping[str, Value] | None = None,
) -> Decision:
    """Write the subject, or only its weights, to the file `path`.

    Where that fails the run ends, or with `on_error="warn"` only says so and tells `on_checkpoint_error`. With
    `background` a copy of the present state is written while the training goes on; None does so where that can be.
    """
    return Decision(
        frozenset(
            [Save(path, weights_only, on_error, background, reason=reason, rule=rule, values=FrozenValues(values))]
        )
    )


def forget(source: str, reason: str = "", *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """Delete the file or the slot named `source`; one that the same decision saves or keeps stays."""
    return Decision(frozenset([Forget(source, reason=reason, rule=rule, values=FrozenValues(values))]))


def keep(slot: str, reason: str = "", *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """Remember the subject's present state in memory under the name `slot`."""
    return Decision(frozenset([Keep(slot, reason=reason, rule=rule, values=FrozenValues(values))]))


def restore(source: str, reason: str = "", *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """Bring the subject back to what `source` holds: a slot if there is one of that name, else a file."""
    return Decision(frozenset([Restore(source, reason=reason, rule=rule, values=FrozenValues(values))]))


def scale_learning_rate(
    factor: float,
    *,
    floor: float = 0.0,
    reason: str = "",
    rule: str = "",
    values: Mapping[str, Value] | None = None,
) -> Decision:
    """Multiply every learning rate by `factor`, down to `floor`; of several requests the lowest new rate wins."""
    return Decision(
        frozenset([ScaleLearningRate(factor, floor, reason=reason, rule=rule, values=FrozenValues(values))])
    )


def join(decisions: Iterable[Decision]) -> Decision:
    """All `decisions` as one; `NOTHING` for none.

    >>> join([]) == NOTHING
    True
    """
    return Decision(frozenset(action for decision in decisions for action in decision.actions))
