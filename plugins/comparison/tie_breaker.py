"""The options of a second metric, which breaks ties between equal values of the monitored one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationInfo

from trainbus import MonitoredCallback, TrainbusError
from trainbus.callback import Mode, direction_or_auto, unknown_directions
from trainbus.metrics.names import canonical


def check_tie_breaker(value: str | None, info: ValidationInfo) -> str | None:
    """Refuse a ``tie_breaker`` that is empty or that is the monitored metric, however its name is written.

    Raises:
        ValueError: It is.
    """
    monitor: str | Iterable[str] | None = info.data.get("monitor")
    if value == "":
        raise ValueError("give the name of a metric")
    names = [monitor] if isinstance(monitor, str) else monitor or ()
    if value is not None and canonical(value) in map(canonical, names):
        raise ValueError(f"a metric does not break its own ties; monitor={monitor!r}: name another metric")
    return value


def check_tie_breaker_mode(value: Mode, info: ValidationInfo) -> Mode:
    """Refuse a ``tie_breaker_mode`` without a ``tie_breaker``.

    Raises:
        ValueError: There is none.
    """
    if value != "auto" and info.data.get("tie_breaker", "") is None:
        raise ValueError("there is no tie_breaker; name the second metric, or leave tie_breaker_mode out")
    return value


def unknown_tie_breakers(
    callback: MonitoredCallback, name: str | None, mode: Mode, subject: object
) -> Iterator[TrainbusError]:
    """Yield an error if neither the subject nor the name or the mode of the second metric gives its direction.

    Args:
        callback: The callback.
        name: Its ``tie_breaker``.
        mode: Its ``tie_breaker_mode``.
        subject: What is trained.
    """
    if name:
        yield from unknown_directions(type(callback).__name__, subject, [(name, mode)], "tie_breaker_mode")


def effective_tie_breaker(settings: Mapping[str, Any], subject: object) -> dict[str, Any]:
    """Return settings with the second metric in the form that all its names share, and with its direction.

    Args:
        settings: The settings of a callback.
        subject: What is trained.
    """
    name, mode = settings.get("tie_breaker"), settings["tie_breaker_mode"]
    if name:
        return {
            **settings,
            "tie_breaker": canonical(name),
            "tie_breaker_mode": direction_or_auto(subject, name, mode),
        }
    return {option: value for option, value in settings.items() if option != "tie_breaker_mode"}
