"""How many batches of an Ignite trainer make one weight update."""

# Ignite has no public way to learn how it has made a trainer
# ruff: noqa: SLF001
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import inspect

from ignite.engine import Engine

from trainbus import SettingsError

_NAME = "gradient_accumulation_steps"


def accumulated_batches(trainer: Engine, given: int | None) -> int:
    """Return how many batches of a trainer make one weight update.

    Args:
        trainer: The trainer. One that Ignite has made, as by ``create_supervised_trainer``, knows the number.
        given: The number that the user has given; None if there is none.

    Raises:
        SettingsError: It is no positive number, or the trainer has another one.
    """
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise SettingsError(f"attach: accumulate={given!r}; give how many batches make one update, such as 1")
    own = _number_of(trainer._process_function)
    if own is not None and given not in (None, own):
        raise SettingsError(
            f"attach: accumulate={given}, but the trainer was made with {_NAME}={own}; leave accumulate out"
        )
    return given or own or 1


def _number_of(function: object) -> int | None:
    """Return the number in a process function that Ignite has made."""
    if not inspect.isfunction(function) or not function.__module__.startswith("ignite."):
        return None
    found = inspect.getclosurevars(function).nonlocals.get(_NAME)
    return found if isinstance(found, int) else None
