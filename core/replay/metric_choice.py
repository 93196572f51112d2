"""Which metric of recorded runs decides, and which way it improves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..errors import MissingMetric, SettingsError, UnknownDirection
from ..metrics.direction import direction_of
from ..metrics.names import canonical, hint, resolve
from .records import Recording

__all__ = ["Choice", "candidates", "choose"]

USUAL = "val_loss"


class Choice(NamedTuple):
    """The metric that decides, the way it improves, and in words why it was chosen."""

    monitor: str
    mode: Literal["min", "max"]
    why: str

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.mode == "max" else -1

    def name_in(self, recording: Recording) -> str | None:
        """What the metric is called in this recording; None where it has no such metric."""
        return resolve(self.monitor, recording.metrics)


def choose(
    recordings: Sequence[Recording],
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
) -> Choice:
    """The metric to decide by: the one that is named, else val_loss, else the best candidate.

    Raises:
        SettingsError: there are no runs.
        MissingMetric: no run logs the one that is named, or none logs any whose name tells a direction.
        UnknownDirection: the one that is named does not tell which way it improves, and `mode` is "auto".
    """
    if not recordings:
        raise SettingsError("there are no runs to look at")
    logged = list(dict.fromkeys(name for recording in recordings for name in recording.metrics))
    if monitor is not None:
        if not any(resolve(monitor, recording.metrics) for recording in recordings):
            listed = ", ".join(logged) or "nothing"
            raise MissingMetric(f"{monitor!r} is in no run{hint(monitor, logged)} logged: {listed}")
        return Choice(monitor, direction_of(monitor) if mode == "auto" else mode, "as asked for")
    usual = next((name for name in logged if canonical(name) == USUAL), None)
    if usual is not None:
        return Choice(usual, "min" if mode == "auto" else mode, "the usual one")
    found = candidates(recordings)
    if not found:
        raise MissingMetric(
            "no metric tells by its name which way it improves; name one, and its mode (min or max); "
            f"logged: {', '.join(logged) or 'nothing'}"
        )
    name = found[0]
    others = f" of {len(found)} whose names tell a direction" if len(found) > 1 else ""
    why = f"the best candidate{others}: no run logs {USUAL}"
    return Choice(name, direction_of(name) if mode == "auto" else mode, why)


def candidates(recordings: Sequence[Recording]) -> list[str]:
    """Metrics whose names tell a direction, best first.

    What more runs log comes first, then what was measured in validation, then losses, then in the order of logging.
    """
    counts: dict[str, int] = {}
    for recording in recordings:
        for name in recording.metrics:
            counts[name] = counts.get(name, 0) + 1
    return sorted(filter(_has_direction, counts), key=lambda name: (-counts[name], *_unlikely(name)))


def _has_direction(name: str) -> bool:
    try:
        direction_of(name)
    except UnknownDirection:
        return False
    return True


def _unlikely(name: str) -> tuple[bool, bool, bool]:
    spoken = canonical(name).split("_")
    timed = bool({"time", "second", "seconds", "sec", "ms", "speed", "throughput"} & set(spoken))
    return timed, not ({"val", "valid", "validation", "eval", "dev"} & set(spoken)), "loss" not in spoken
