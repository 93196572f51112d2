"""A callback that monitors a metric, and the direction in which the metric improves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

from pydantic import StringConstraints

from ..capabilities import HasDirections, missing
from ..errors import TrainbusError, UnknownDirection
from ..metrics.direction import direction_for, direction_of
from ..metrics.names import canonical
from .callback import Callback
from .option_types import Mode, Verbose


class MonitoredCallback(Callback):
    """Base class of the callbacks that monitor one metric."""

    monitor: Annotated[str, StringConstraints(min_length=1)] = "val_loss"
    """Name under which the metric is logged."""
    verbose: Verbose = 0
    """0 prints nothing; 1 a progress bar and every decision; 2 a line for each epoch and every decision; "auto" is 1 in
    a terminal or a notebook, else 2."""
    mode: Mode = "auto"
    """Whether lower ("min") or higher ("max") values are better; "auto" takes the direction from the metric object, or
    else from the metric's name.
    """

    def monitors(self) -> bool:
        """Return whether the callback uses the metric with these options."""
        return True

    def monitored(self) -> tuple[tuple[str, Mode], ...]:
        """Return each metric that the callback uses, and its mode."""
        return ((self.monitor, self.mode),) if self.monitors() else ()

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with the direction of the metric in words, and without the metric if it is not used."""
        settings = super().effective_settings(subject)
        if not self.monitors():
            return {name: value for name, value in settings.items() if name not in ("monitor", "mode")}
        names = [canonical(name) for name, _ in self.monitored()]
        modes = [direction_or_auto(subject, *each) for each in self.monitored()]
        several = len(names) > 1
        return {**settings, "monitor": names if several else names[0], "mode": modes if several else modes[0]}

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether it monitors the same metric in the same direction, or does not use the metric."""
        now = self.effective_settings(subject)
        return not self.monitors() or all(earlier.get(name) == now[name] for name in ("monitor", "mode"))

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also yield a metric whose direction neither the subject nor its name gives."""
        yield from super().validate_for(subject)
        yield from unknown_directions(type(self).__name__, subject, self.monitored())


def unknown_directions(
    callback: str, subject: object, metrics: Sequence[tuple[str, Mode]], option: str = "mode"
) -> Iterator[UnknownDirection]:
    """Yield an error for each metric whose direction neither the subject nor its mode or name gives.

    Args:
        callback: The name of the callback, for the messages.
        subject: What is trained.
        metrics: The name and the mode of each metric.
        option: The option that gives the modes.
    """
    for number, (name, mode) in enumerate(metrics):
        if mode == "auto" and missing(subject, HasDirections):
            given = [str(each) for _, each in metrics]
            modes = (
                each if len(given) == 1 else [*given[:number], each, *given[number + 1 :]] for each in ("max", "min")
            )
            fix = " or ".join(f"{option}={each!r}" for each in modes).replace("'", '"')
            try:
                direction_of(name, f"write {fix}")
            except UnknownDirection as error:
                yield UnknownDirection(f"{callback}: {error}")


def direction_or_auto(subject: object, metric: str, mode: Mode) -> Mode:
    """Return the direction of a metric; "auto" if it is unknown before the training."""
    if mode == "auto":
        with suppress(UnknownDirection):
            return direction_for(subject, metric)
    return mode
