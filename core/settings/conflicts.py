"""Callbacks of one list that exclude each other: the same one twice, or two that write the same path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..callback import Callback


def find_conflicts(callbacks: Iterable[Callback], subject: object = None) -> Iterator[tuple[int, str]]:
    """Yield the index of each callback with the effect of an earlier one or with its path, and the error message.

    Args:
        callbacks: The callbacks of one run.
        subject: What is trained; None if unknown.
    """
    claimed: dict[str, tuple[int, Callback]] = {}
    seen: list[Callback] = []
    for number, callback in enumerate(callbacks):
        equal = next((each for each in seen if _equal(callback, each, subject)), None)
        if equal is not None:
            how = _in_other_words(equal, callback)
            yield number, f"{type(callback).__name__} is listed twice with {how}; remove one"
        seen.append(callback)
        for claim in callback.exclusive_paths(subject):
            first, other = claimed.setdefault(claim, (number, callback))
            if first != number and not _equal(callback, other, subject):
                names = " and ".join(dict.fromkeys([type(other).__name__, type(callback).__name__]))
                yield number, f"{names}: two callbacks would write {claim!r}; give each a different path"


def _equal(one: Callback, other: Callback, subject: object) -> bool:
    """Return whether two callbacks have the same effect on the subject."""
    return type(one) is type(other) and (
        one == other
        or (
            one.effective_settings(subject) == other.effective_settings(subject)
            and not _differ_in_functions(one, other)
        )
    )


def _differ_in_functions(one: Callback, other: Callback) -> bool:
    """Return whether an option of both is a function, of each another one; settings have only their names."""
    pairs = ((getattr(one, name), getattr(other, name)) for name in type(one).model_fields)
    return any(callable(first) and callable(second) and first != second for first, second in pairs)


def _in_other_words(one: Callback, other: Callback) -> str:
    """Describe the options of two callbacks with the same effect."""
    differ = [name for name in type(one).model_fields if getattr(one, name) != getattr(other, name)]
    pairs = [f"{name}={getattr(one, name)!r} and {name}={getattr(other, name)!r}" for name in differ]
    return f"options of the same effect ({', '.join(pairs)})" if pairs else "the same options"
