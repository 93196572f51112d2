"""The decision: a set of actions, and the functions that make and join decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, cast

from ..errors import SettingsError
from .actions import Action, Forget, Keep, Restore, Save, ScaleLearningRate, SetLearningRate, Stop
from .values import FrozenValues, Value, as_plain_value


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
        return Decision(_joined(self.actions | other.actions))

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __iter__(self) -> Iterator[Action]:
        if self._ordered is None:
            ordered = sorted(self.actions, key=lambda action: action.order)
            kinds = {action.order for action in ordered}
            if len(kinds) < len(ordered):  # text orders actions of one kind; most decisions have one of each
                ordered.sort(key=lambda action: (action.order, repr(action), repr(action.values)))
            object.__setattr__(self, "_ordered", tuple(ordered))
        return iter(self._ordered or ())

    @property
    def stops(self) -> bool:
        """Whether the training ends."""
        return any(isinstance(action, Stop) for action in self.actions)

    @property
    def makes(self) -> frozenset[str]:
        """The paths and the slots that are saved or kept, which are therefore not deleted."""
        paths = frozenset(path for action in self.actions if isinstance(action, Save) for path in action.paths)
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


def stop(
    reason: str, *, unless_cut: bool = False, rule: str = "", values: Mapping[str, Value] | None = None
) -> Decision:
    """Return the decision to end the training in an orderly way.

    Args:
        reason: Why, in words; shown to the user and kept in the journal, as for every action.
        unless_cut: Whether a cut of the learning rate that is decided at the same time cancels the stop.
        rule: Name of the rule that asks for it, for the journal.
        values: The rule's input, for the journal.

    >>> stop("no progress").reasons
    ('no progress',)
    >>> (stop("no progress", unless_cut=True) | scale_learning_rate(0.1)).stops
    False
    """
    return _only(Stop(unless_cut, reason=reason, rule=rule, values=FrozenValues(values)))


def save(
    path: str,
    *,
    weights_only: bool = False,
    on_error: Literal["raise", "warn"] = "raise",
    background: bool | None = False,
    link: str | Mapping[str, str] = "",
    parts: Mapping[str, str] | None = None,
    content_optional: bool = False,
    for_inspection: bool = False,
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
        background: Whether to write a copy of the state while the training continues; None does so if the subject can.
        link: A symbolic link that leads to the file once it is complete: its path, relative to the file's directory. Of
            several files, the link of each, by the name of its model.
        parts: Name of each model to the name of its file, for a subject of several models. ``path`` is the path of one
            of these files, and the others are beside it. All are committed and deleted together.
        content_optional: Whether the file holds the training state alone if the user's own content, which the callback
            that asks for it has, cannot be made.
        for_inspection: Whether a resume by "auto" or from the directory never continues from the file; one that names
            its path does.
        reason: Why, in words.
        rule: Name of the rule that asks for it.
        values: The rule's input.

    Raises:
        SettingsError: ``on_error`` is neither "raise" nor "warn", or ``parts`` does not name ``path``.

    >>> save("best.pt", reason="lowest loss").reasons
    ('lowest loss',)
    """
    if on_error not in ("raise", "warn"):
        raise SettingsError(f"save: on_error={on_error!r}: give 'raise' or 'warn'")
    why: dict[str, Any] = {"reason": reason, "rule": rule, "values": FrozenValues(values)}
    action = Save(path, weights_only, on_error, background, link, parts or {}, content_optional, for_inspection, **why)
    if parts and (path not in action.part_paths.values() or len(action.paths) < len(parts)):
        raise SettingsError(
            f"save: parts={dict(parts)!r}: give each model a name of its own, one of them that of {path!r}"
        )
    return _only(action)


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
    floor: float | Mapping[str, float] = 0.0,
    groups: Iterable[str] = (),
    eps: float = 0.0,
    reason: str = "",
    rule: str = "",
    values: Mapping[str, Value] | None = None,
) -> Decision:
    """Return the decision to multiply every learning rate by ``factor``, but not below ``floor``.

    If several plugins ask for it, the lowest new rate wins.

    Args:
        factor: What every rate is multiplied by.
        floor: The lowest new rate; a rate that is below it already does not change. A mapping has one for each name;
            a rate that it does not name has none.
        groups: The names of the rates to multiply, as the subject names them; empty for all.
        eps: A rate that would not become smaller by more than this does not change.
        reason: Why, in words.
        rule: Name of the rule that asks for it.
        values: The rule's input.

    Raises:
        SettingsError: ``factor``, ``floor`` or ``eps`` is below 0 or not finite, or ``groups`` is text.

    >>> [action.factor for action in scale_learning_rate(0.5, floor=1e-6)]
    [0.5]
    """
    if not 0 <= factor < inf:
        raise SettingsError(f"scale_learning_rate: factor={factor!r}: give a finite number, 0 or above")
    if isinstance(groups, str):
        raise SettingsError(f"scale_learning_rate: groups={groups!r}: give a list of names: [{groups!r}]")
    if isinstance(floor, Mapping):
        floor = {name: _rate(each, f"scale_learning_rate: floor of {name!r}") for name, each in floor.items()}
    else:
        floor = _rate(floor, "scale_learning_rate: floor")
    eps = _rate(eps, "scale_learning_rate: eps")
    action = ScaleLearningRate(factor, floor, tuple(groups), eps, reason=reason, rule=rule, values=FrozenValues(values))
    return _only(action)


def set_learning_rate(
    rate: float | Mapping[str, float],
    *,
    reason: str = "",
    rule: str = "",
    values: Mapping[str, Value] | None = None,
) -> Decision:
    """Return the decision to set every learning rate to ``rate``, multiplied by the cuts that the run has made so far.

    So a schedule that asks for 0.01 after a cut by 0.1 gives 0.001. If several plugins ask for it, the lowest rate
    wins. What the same decision scales is scaled after that.

    Args:
        rate: The rate without cuts; or a mapping from names of rates, as the subject names them, to the rate of each.
        reason: Why, in words.
        rule: Name of the rule that asks for it.
        values: The rule's input.

    Raises:
        SettingsError: A rate is below 0 or not finite, or the mapping is empty.

    >>> [action.rate for action in set_learning_rate({"learning_rate/head": 0.1, "learning_rate/body": 0.01})]
    [{'learning_rate/head': 0.1, 'learning_rate/body': 0.01}]
    """
    if isinstance(rate, Mapping):
        if not rate or not all(isinstance(cast("object", name), str) for name in rate):
            raise SettingsError(f"set_learning_rate: rate={rate!r}: give names of learning rates, each with its rate")
        checked: float | FrozenValues = FrozenValues({name: _rate(each) for name, each in rate.items()})
    else:
        checked = _rate(rate)
    action = SetLearningRate(cast("float", checked), reason=reason, rule=rule, values=FrozenValues(values))
    return _only(action)


def _rate(rate: object, what: str = "set_learning_rate: rate") -> float:
    plain = as_plain_value(rate) if getattr(rate, "size", 1) == 1 else None
    if isinstance(plain, bool) or not isinstance(plain, (int, float)) or not 0 <= plain < inf:
        raise SettingsError(f"{what}={rate!r}: give a finite number, 0 or above")
    return float(plain)


def join(decisions: Iterable[Decision]) -> Decision:
    """Return the union of all decisions; ``NOTHING`` for none.

    >>> join([]) == NOTHING
    True
    >>> len(list(join([stop("enough"), stop("enough"), save("a.pt")])))
    2
    """
    return Decision(_joined(frozenset(action for decision in decisions for action in decision.actions)))


def _joined(actions: frozenset[Action]) -> frozenset[Action]:
    """Return the actions without the stops that a cut of the learning rate among them cancels."""
    if not any(isinstance(each, ScaleLearningRate) for each in actions):
        return actions
    return frozenset(each for each in actions if not (isinstance(each, Stop) and each.unless_cut))
