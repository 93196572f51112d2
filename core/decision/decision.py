"""The decision: a set of actions, and the functions that make and join decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from ..errors import SettingsError
from .actions import Action, Forget, Keep, Restore, Save, ScaleLearningRate, Stop
from .values import FrozenValues, Value


@dataclass(frozen=True, slots=True)
class Decision:
    """A set of actions that plugins ask for; decisions join by ``|``.

    Iteration yields the actions in the order in which the run executes them, regardless of the order of the answers:
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
    _ordered: tuple[Action, ...] | None = field(default=None, init=False, repr=False, compare=False)

    def __or__(self, other: Decision) -> Decision:
        return Decision(self.actions | other.actions)

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __iter__(self) -> Iterator[Action]:
        if self._ordered is None:  # sorting is most of what it costs to handle a decision
            ordered = sorted(self.actions, key=lambda action: (action.order, repr(action), repr(action.values)))
            object.__setattr__(self, "_ordered", tuple(ordered))
        return iter(self._ordered or ())

    @property
    def stops(self) -> bool:
        """Whether the training ends."""
        return any(isinstance(action, Stop) for action in self.actions)

    @property
    def makes(self) -> frozenset[str]:
        """The paths and the slots that are saved or kept, which are therefore not deleted."""
        paths = frozenset(action.path for action in self.actions if isinstance(action, Save))
        return paths | {action.slot for action in self.actions if isinstance(action, Keep)}

    @property
    def askers(self) -> frozenset[str]:
        """The names of the plugins that asked for the actions."""
        return frozenset(action.by for action in self.actions)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The distinct reasons, in the order of the actions."""
        return tuple(dict.fromkeys(action.reason for action in self if action.reason))

    def signed(self, name: str) -> Decision:
        """Return the decision with ``by=name`` in every action that has no ``by`` yet."""
        return Decision(frozenset(action if action.by else replace(action, by=name) for action in self.actions))


NOTHING = Decision()
"""The empty decision, identity of the join."""


def _only(action: Action) -> Decision:
    return Decision(frozenset([action]))


def stop(reason: str, *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """Return the decision to end the training in an orderly way.

    Args:
        reason: Why, in words; shown to the user and kept in the journal, as for every action.
        rule: Name of the rule that asks for it, for the journal.
        values: The rule's input, for the journal.

    >>> stop("no progress").reasons
    ('no progress',)
    """
    return _only(Stop(reason=reason, rule=rule, values=FrozenValues(values)))


def save(
    path: str,
    *,
    weights_only: bool = False,
    on_error: Literal["raise", "warn"] = "raise",
    background: bool | None = False,
    link: str = "",
    reason: str = "",
    rule: str = "",
    values: Mapping[str, Value] | None = None,
) -> Decision:
    """Return the decision to write the subject, or only its weights, to the file ``path``.

    ``reason``, ``rule`` and ``values`` are those of ``stop``, here and in the functions below.

    Args:
        path: The path or URL of the file; its suffix selects the format.
        weights_only: Whether to leave out the rest of the training state, such as the optimizer's.
        on_error: If the file cannot be written, "raise" ends the run; "warn" logs a line and calls
            ``on_checkpoint_error``.
        link: A symbolic link that leads to the file once it is complete: its path, relative to the file's directory.
        background: Whether to write a copy of the state while the training continues; None does so if the subject can.
        reason: Why, in words.
        rule: Name of the rule that asks for it.
        values: The rule's input.

    Raises:
        SettingsError: ``on_error`` is neither "raise" nor "warn".

    >>> save("best.pt", reason="lowest loss").reasons
    ('lowest loss',)
    """
    if on_error not in ("raise", "warn"):
        raise SettingsError(f"save: on_error={on_error!r}: give 'raise' or 'warn'")
    return _only(
        Save(path, weights_only, on_error, background, link, reason=reason, rule=rule, values=FrozenValues(values))
    )


def forget(source: str, reason: str = "", *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """Return the decision to delete the file or the slot ``source``, unless the same decision saves or keeps it.

    >>> [action.source for action in forget("old.pt")]
    ['old.pt']
    """
    return _only(Forget(source, reason=reason, rule=rule, values=FrozenValues(values)))


def keep(slot: str, reason: str = "", *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """Return the decision to copy the subject's present state to memory, under the name ``slot``.

    >>> [action.slot for action in keep("best")]
    ['best']
    """
    return _only(Keep(slot, reason=reason, rule=rule, values=FrozenValues(values)))


def restore(source: str, reason: str = "", *, rule: str = "", values: Mapping[str, Value] | None = None) -> Decision:
    """Return the decision to restore the subject from ``source``: a slot if there is one of this name, else a file.

    >>> [action.source for action in restore("best")]
    ['best']
    """
    return _only(Restore(source, reason=reason, rule=rule, values=FrozenValues(values)))


def scale_learning_rate(
    factor: float,
    *,
    floor: float = 0.0,
    reason: str = "",
    rule: str = "",
    values: Mapping[str, Value] | None = None,
) -> Decision:
    """Return the decision to multiply every learning rate by ``factor``, but not below ``floor``.

    If several plugins ask for it, the lowest new rate wins.

    Args:
        factor: What every rate is multiplied by.
        floor: The lowest new rate; a rate that is below it already does not change.
        reason: Why, in words.
        rule: Name of the rule that asks for it.
        values: The rule's input.

    Raises:
        SettingsError: ``factor`` is below 0 or not finite.

    >>> [action.factor for action in scale_learning_rate(0.5, floor=1e-6)]
    [0.5]
    """
    if not 0 <= factor < inf:
        raise SettingsError(f"scale_learning_rate: factor={factor!r}: give a finite number, 0 or above")
    return _only(ScaleLearningRate(factor, floor, reason=reason, rule=rule, values=FrozenValues(values)))


def join(decisions: Iterable[Decision]) -> Decision:
    """Return the union of all decisions; ``NOTHING`` for none.

    >>> join([]) == NOTHING
    True
    >>> len(list(join([stop("enough"), stop("enough"), save("a.pt")])))
    2
    """
    return Decision(frozenset(action for decision in decisions for action in decision.actions))
