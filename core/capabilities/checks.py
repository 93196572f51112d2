"""Which capabilities a subject has."""

from __future__ import annotations

from typing import Protocol, TypeGuard, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

from typing_extensions import TypeIs, get_protocol_members

from .saving import BackgroundSaveable, SavesSomeInBackground

C = TypeVar("C")

_ABSENT: WeakKeyDictionary[type, dict[type, list[str]]] = WeakKeyDictionary()
"""For each class and capability, the methods that the class itself does not have."""


@runtime_checkable
class Refuses(Protocol):
    """A subject that may lack a capability although it has its methods."""

    def refusal(self, capability: type) -> str | None:
        """Return why this object lacks the capability; None if it has it."""
        ...


def has(subject: object, capability: type[C]) -> TypeIs[C]:
    """Return whether ``subject`` has the methods of ``capability``: like ``isinstance``, but cached for each class.

    As with ``isinstance``, a method that a class sets to None counts as missing.

    >>> from trainbus.capabilities import Saveable
    >>> from trainbus.testing import LineSubject
    >>> has(LineSubject(), Saveable), has(object(), Saveable)
    (True, False)
    """
    kind = type(subject)
    known = _ABSENT.get(kind)
    if known is None:
        known = _ABSENT[kind] = {}
    absent = known.get(capability)
    if absent is None:
        absent = known[capability] = _absent_members(kind, capability)
    # an object may have methods that its class lacks; isinstance() would look at all of them, which takes long
    return not absent or all(getattr(subject, name, None) is not None for name in absent)


def supports(subject: object, capability: type[C]) -> TypeGuard[C]:
    """Return whether ``subject`` has ``capability`` and does not refuse it; ``missing`` says why not.

    >>> from trainbus.capabilities import Saveable
    >>> from trainbus.testing import LineSubject
    >>> supports(LineSubject(), Saveable), supports(None, Saveable)
    (True, False)
    """
    return missing(subject, capability) is None


def missing(subject: object, capability: type) -> str | None:
    """Return why ``subject`` lacks ``capability``, in words that can follow "because"; None if it has it.

    Unlike ``has``, this also calls the subject's ``refusal``.

    Args:
        subject: The subject of a run; None for a run without a subject.
        capability: One of the Protocols of ``trainbus.capabilities``.

    >>> from trainbus.capabilities import HasLearningRate, Saveable
    >>> missing(object(), HasLearningRate)
    "'object' has no learning_rates() and set_learning_rates()"
    >>> missing(None, Saveable)
    'the run has no subject; write Run(subject, callbacks)'
    """
    if subject is None:
        return "the run has no subject; write Run(subject, callbacks)"
    if not has(subject, capability):
        if has(subject, Refuses) and (why := subject.refusal(capability)):
            return why
        absent = [f"{name}()" for name in _absent_members(subject, capability)]
        return f"{type(subject).__name__!r} has no {' and '.join(absent)}"
    if capability is BackgroundSaveable and _overrides(subject, "save", "snapshot_writer"):
        return (
            f"{type(subject).__name__!r} overrides save() but not snapshot_writer(), which background saves call; "
            "override both to save in the background"
        )
    return subject.refusal(capability) if has(subject, Refuses) else None


def in_words(capability: type) -> str:
    """Describe a subject with the capability in words, by the first sentence of the Protocol's docstring.

    >>> from trainbus.capabilities import Saveable
    >>> in_words(Saveable)
    'a subject that can be written to a file'
    """
    sentence = " ".join((capability.__doc__ or "").split()).partition(". ")[0].removesuffix(".")
    return f"{sentence[0].lower()}{sentence[1:]}" if sentence else capability.__name__


def _overrides(subject: object, method: str, other: str) -> bool:
    """Return whether a more derived class than that of ``other``, or the object itself, defines ``method``."""
    owners = [vars(subject) if hasattr(subject, "__dict__") else {}, *map(vars, type(subject).__mro__)]
    first, second = (
        next((n for n, names in enumerate(owners) if each in names), len(owners)) for each in (method, other)
    )
    return first < second


def _absent_members(thing: object, capability: type) -> list[str]:
    """Return the members of a Protocol that the object does not have, sorted by name."""
    return [name for name in sorted(get_protocol_members(capability)) if getattr(thing, name, None) is None]


def saves_in_background(subject: object, name: str) -> bool:
    """Return whether a ``BackgroundSaveable`` subject can write a file with this name in the background.

    Args:
        subject: The subject; the result is True if it does not implement ``SavesSomeInBackground``.
        name: The name of the file.
    """
    return not has(subject, SavesSomeInBackground) or subject.saves_in_background(name)
