"""The schedules of Ignite that set the learning rate at events of a trainer."""

# Ignite has no public way to learn which handlers an event has
# ruff: noqa: SLF001
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from ignite.handlers import BaseParamScheduler, LRScheduler, ParamGroupScheduler, ReduceLROnPlateauScheduler

_KEEP_CUTS = (LRScheduler, ReduceLROnPlateauScheduler)
"""Schedules that wrap one of torch, which a subject knows."""


def schedule_of(trainer: Engine) -> str | None:
    """Return the name of a schedule that sets the learning rate at an event of the trainer; None without one."""
    for handlers in trainer._event_handlers.values():
        for handler, *_ in handlers:
            own = getattr(handler, "_parent", lambda each=handler: each)()  # of an event with a filter
            if _may_undo(own) and "lr" in _names(own):
                return type(own).__name__
    return None


def _may_undo(handler: object) -> bool:
    return isinstance(handler, (BaseParamScheduler, ParamGroupScheduler)) and not isinstance(handler, _KEEP_CUTS)


def _names(schedule: Any) -> list[str]:
    """Return the names of the parameters that a schedule sets."""
    if isinstance(schedule, ParamGroupScheduler):
        return [name for inner in schedule.schedulers for name in _names(inner)]
    name = schedule.param_name
    return [name] if isinstance(name, str) else list(name)
