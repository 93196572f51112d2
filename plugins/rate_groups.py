"""Options that name learning rates: a floor for each, and those that may be cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Annotated, Any, cast

from pydantic import BeforeValidator

from trainbus import SettingsError
from trainbus.capabilities import HasLearningRate, supports
from trainbus.metrics.names import hint
from trainbus.metrics.scalars import as_number


def _floor(value: object) -> float:
    wanted = "give a number, or a mapping from names of learning rates to numbers"
    if isinstance(value, (str, bool)):
        raise ValueError(f"{wanted}, not {'text' if isinstance(value, str) else 'a bool'}")  # noqa: TRY004 - of an option
    try:
        number = as_number(value)
    except TypeError:
        raise ValueError(wanted) from None
    if not 0 <= number < inf:
        raise ValueError("give a finite number of at least 0")
    return number


def _check_floors(value: object) -> object:
    if not isinstance(value, Mapping):
        return _floor(value)
    named = cast("Mapping[object, object]", value)
    if not named or not all(isinstance(name, str) for name in named):
        raise ValueError("give names of learning rates, each with its lower bound")
    return {name: _floor(each) for name, each in named.items()}


def _check_groups(value: Any) -> object:
    if value is None:
        return None
    if not isinstance(value, (list, tuple, set, frozenset)) or not value:
        raise ValueError("give a list of names of learning rates; leave it out to cut all of them")
    names = list(cast("Iterable[object]", value))
    if not all(isinstance(name, str) for name in names):
        raise ValueError("give names of learning rates as text")
    if len(set(names)) < len(names):
        raise ValueError("a name is given twice; give it once")
    return tuple(names)


Floors = Annotated[float | dict[str, float], BeforeValidator(_check_floors)]
"""A lower bound of every learning rate, or one for each that is named; the others have none."""

Groups = Annotated[tuple[str, ...] | None, BeforeValidator(_check_groups)]
"""Names of learning rates; None for all."""


def check_floors_in_groups(floors: float | Mapping[str, float], groups: Iterable[str] | None) -> None:
    """Refuse a floor of a rate that is never cut.

    Raises:
        ValueError: ``groups`` leaves out a rate that ``floors`` names.
    """
    outside = (
        [] if groups is None or not isinstance(floors, Mapping) else [each for each in floors if each not in groups]
    )
    if outside:
        raise ValueError(
            f"min_lr names {outside[0]!r}, which groups leaves out, so it is never cut; add it to groups, or leave it "
            "out of min_lr"
        )


def unknown_names(callback: str, subject: object, named: Mapping[str, Iterable[str]]) -> Iterator[SettingsError]:
    """Yield an error for each name that no learning rate of the subject has.

    Args:
        callback: The name of the callback's class.
        subject: What is trained.
        named: Each option to the names that it has.
    """
    if not supports(subject, HasLearningRate):
        return
    known = list(subject.learning_rates())
    for option, names in named.items():
        for name in names:
            if name not in known:
                yield SettingsError(f"{callback}: {option}: {unknown_rate(name, known)}")


def unknown_rate(name: str, known: Iterable[str]) -> str:
    """Return what is wrong with a name that no learning rate has.

    >>> unknown_rate("head", ["learning_rate/head", "learning_rate/body"])
    "'head' is not a learning rate; did you mean 'learning_rate/head'? learning rates: learning_rate/head, \
learning_rate/body"
    """
    known = list(known)
    near = next((each for each in known if each.partition("/")[2] == name), None)
    suggestion = f"; did you mean {near!r}?" if near else hint(name, known)
    return f"{name!r} is not a learning rate{suggestion} learning rates: {', '.join(known) or 'none'}"
