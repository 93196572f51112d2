"""The options that all policies of a sweep share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainbus import Callback, MonitoredCallback, SettingsError
from trainbus.plugins import EarlyStopping

from ..metrics.direction import known_direction
from .libraries.library import Library
from .libraries.settings import build, option_of, required_by
from .metric_choice import MetricChoice, choose_metric, choose_metrics, choose_tie_breaker
from .records import Recording
from .replayer import refuse_epochs
from .simulation.unrecorded import refuse_looks

Fixed = Callback | Mapping[str, Any]
"""An early stopping, or its options by name."""


@dataclass(frozen=True)
class SharedOptions:
    """What all policies share: the metrics, and every option that is not tried with several values."""

    library: Library
    callback: MonitoredCallback | None
    """The given options as a callback of the library; None if none are given."""
    options: Mapping[str, Any]
    """The given options that no policy varies, and the metrics if there are several."""
    axes: Mapping[str, Sequence[Any]]
    """The only value of each given option that a sweep would vary."""
    choices: tuple[MetricChoice, ...]
    tie_breaker: MetricChoice | None
    called: Callable[[str], str]
    """Returns what messages call an argument of ``sweep``."""

    @property
    def relative(self) -> bool:
        """Whether ``min_delta`` is a fraction of the best value."""
        return "rel" in (self.options.get(name) for name in ("min_delta_mode", "threshold_mode"))

    def check(self, axis: str, value: Any) -> Any:
        """Return a value of an axis as the callback of the library stores it.

        Args:
            axis: The name of the axis.
            value: The value.

        Raises:
            SettingsError: The callback does not accept the value together with the shared options.
        """
        kind = self.library.stopping.settings
        if option_of(kind, axis) not in kind.model_fields:
            return value  # an option that the library does not have is not tried
        try:
            choice = self.choices[0]
            named = {"monitor": choice.monitor, "mode": choice.mode, **required_by(kind)}
            options = {**named, **self.options, axis: value}
            return getattr(build(kind, options, self.library), option_of(kind, axis))
        except SettingsError as error:
            why = error.problems[0][1] if error.problems else str(error)
            name = self.called(axis)
            own = why.startswith(f"{axis}=")
            raise SettingsError(f"{name}{why.removeprefix(axis)}" if own else f"{name}={value}: {why}") from None


def share(
    fixed: Fixed | None,
    axes: Mapping[str, Sequence[Any] | None],
    library: Library,
    recordings: Sequence[Recording],
    monitor: str | None,
    mode: Literal["auto", "min", "max"],
    called: Callable[[str], str],
) -> SharedOptions:
    """Return what all policies of a sweep share.

    Args:
        fixed: The given options.
        axes: The values to try of each option that a sweep varies; None if they are not given.
        library: The library whose rules apply.
        recordings: The runs.
        monitor: The metric that decides, if it is given on its own.
        mode: The direction in which it improves.
        called: Returns what messages call an argument of ``sweep``.

    Raises:
        SettingsError: An option is wrong, is given twice, or cannot be answered by a record.
    """
    if fixed is None:
        choices: tuple[MetricChoice, ...] = (choose_metric(recordings, monitor, mode),)
        return SharedOptions(library, None, {}, {}, choices, None, called)
    callback, given = _translated(fixed, library, called)
    named = {"monitor": monitor, "mode": None if mode == "auto" else mode, **axes}
    kind = type(callback)
    twice = next((name for name in named if named[name] is not None and option_of(kind, name) in given), None)
    if twice is not None:
        own = option_of(kind, twice)
        raise SettingsError(
            f"{called('fixed')}: {own}={given[own]!r}: {called(twice)} is given as well; leave one of the two out"
        )
    refuse_epochs({called("fixed"): callback}, recordings)
    refuse_looks(called("fixed"), callback, recordings)
    named_one = monitor is not None or "monitor" in given
    choices = choose_metrics(
        callback, recordings, monitor, mode, None if named_one else choose_metric(recordings, mode=mode)
    )
    varied = {option_of(kind, name): name for name in axes}
    options = {name: value for name, value in given.items() if name not in (*varied, "monitor", "mode")}
    if len(choices) > 1:
        options["monitor"] = tuple(each.monitor for each in choices)
        if any(known_direction(each.monitor) != each.mode for each in choices):
            options["mode"] = tuple(each.mode for each in choices)
    single = {varied[name]: [value] for name, value in given.items() if name in varied}
    return SharedOptions(library, callback, options, single, choices, choose_tie_breaker(callback, recordings), called)


def _translated(
    fixed: Fixed, library: Library, called: Callable[[str], str]
) -> tuple[MonitoredCallback, Mapping[str, Any]]:
    """Return the callback of the library, and those of its options that are given."""
    kind = library.stopping.settings
    if isinstance(fixed, kind):
        return fixed, {name: getattr(fixed, name) for name in fixed.model_fields_set}
    if not isinstance(fixed, (Mapping, EarlyStopping)):
        raise SettingsError(
            f"{called('fixed')}={type(fixed).__name__}: give an EarlyStopping, whose options all policies share"
        )
    given = fixed if isinstance(fixed, Mapping) else fixed.model_dump(exclude_unset=True)
    names = {option_of(kind, name) for name in given}
    try:
        callback = build(kind, {**required_by(kind), **given}, library)
    except SettingsError as error:
        raise SettingsError(f"{called('fixed')}: {error}") from None
    return callback, {name: getattr(callback, name) for name in callback.model_fields_set if name in names}
