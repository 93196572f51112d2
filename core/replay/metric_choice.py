"""The choice of the metric that is used to compare recorded runs, and of its direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..errors import MissingMetric, SettingsError, UnknownDirection
from ..metrics.direction import direction_of
from ..metrics.names import canonical, hint, resolve
from ..terminal import shortened
from .records import Recording

_SHOWN = 50
"""The maximum number of metrics that a message lists completely."""

_DEFAULT = "val_loss"


class MetricChoice(NamedTuple):
    """The chosen metric, its direction, and the reason for the choice."""

    monitor: str
    mode: Literal["min", "max"]
    why: str

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if self.mode == "max" else -1

    def name_in(self, recording: Recording) -> str | None:
        """Return the name of the metric in this recording; None if it has no such metric."""
        return resolve(self.monitor, recording.metrics)

    def is_logged_in(self, recording: Recording) -> bool:
        """Return whether this recording has at least one value of the metric."""
        name = self.name_in(recording)
        return name is not None and bool(recording.metrics[name].logged.any())


def choose_metric(
    recordings: Sequence[Recording],
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
) -> MetricChoice:
    """Choose the metric to monitor: ``monitor`` if it is given, else val_loss, else the most suitable one.

    Raises:
        SettingsError: There are no runs.
        MissingMetric: No run logs ``monitor``; or it is None, and no logged metric has a known direction.
        UnknownDirection: The direction of ``monitor`` is unknown, and ``mode`` is "auto".
    """
    if not recordings:
        raise SettingsError("there are no runs to replay")
    logged = list(dict.fromkeys(name for recording in recordings for name in recording.metrics))
    listed = ", ".join(shortened(logged, most=_SHOWN)) or "nothing"
    if monitor is not None:
        if not any(resolve(monitor, recording.metrics) for recording in recordings):
            raise MissingMetric(f"no run logs {monitor!r}{hint(monitor, logged)} logged: {listed}")
        name, why = monitor, "as requested"
    elif default := next((name for name in logged if canonical(name) == _DEFAULT), None):
        name, why = default, "the default"
    elif found := candidates(recordings):
        others = f" of {len(found)} with a known direction" if len(found) > 1 else ""
        name, why = found[0], f"the most suitable one{others}: no run logs {_DEFAULT}"
    else:
        raise MissingMetric(
            f"no logged metric has a name with a known direction; give a monitor and its mode (min or max); "
            f"logged: {listed}"
        )
    return MetricChoice(name, direction_of(name) if mode == "auto" else mode, why)


def candidates(recordings: Sequence[Recording]) -> list[str]:
    """Return the metrics whose direction is known by their names, best first.

    Metrics that more runs log come first, then validation metrics, then losses, then in the order of logging.
    """
    counts = Counter(name for recording in recordings for name in recording.metrics)
    directed = (name for name in counts if known_direction(name) is not None)
    return sorted(directed, key=lambda name: (-counts[name], *_unlikeliness(name)))


def known_direction(name: str) -> Literal["min", "max"] | None:
    """Return the direction in which a metric of this name improves; None if the name does not determine it."""
    try:
        return direction_of(name)
    except UnknownDirection:
        return None


def _unlikeliness(name: str) -> tuple[bool, bool, bool]:
    words = set(canonical(name).split("_"))
    timed = bool({"time", "second", "seconds", "sec", "ms", "speed", "throughput"} & words)
    return timed, not ({"val", "valid", "validation", "eval", "dev"} & words), "loss" not in words
