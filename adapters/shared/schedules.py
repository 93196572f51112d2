"""Schedules of a framework that set the learning rate anew, and so undo every change of it."""

from __future__ import annotations

from collections.abc import Iterable

from trainbus import Callback, MissingCapability
from trainbus.capabilities import HasLearningRate, in_words


def check_schedule(callbacks: Iterable[object], schedule: str | None) -> None:
    """Refuse callbacks that change the learning rate beside a schedule that sets it anew.

    Args:
        callbacks: The callbacks of trainbus.
        schedule: What sets the rate, as the user writes it; None if nothing does.

    Raises:
        MissingCapability: One of the callbacks changes the rate.

    >>> from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
    >>> check_schedule([EarlyStopping()], "a schedule")
    >>> check_schedule([ReduceLROnPlateau()], None)
    """
    if schedule is None:
        return
    for each in callbacks:
        if isinstance(each, Callback) and HasLearningRate in each.requires():
            raise MissingCapability(
                f"{type(each).__name__} needs {in_words(HasLearningRate)}, but {schedule} sets the learning rate anew "
                "again and again, which would undo every change; leave one of them out"
            )
