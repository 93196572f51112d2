"""What a library saves at each moment of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from trainbus import MonitoredCallback

from ...records import Recording


class Moment(NamedTuple):
    """A row of a recorded run at which a library may save."""

    epoch: int
    """Counted from 0."""
    step: int
    """The weight updates until then; without a record of them, the number of epochs."""
    metrics: Mapping[str, float]
    """The metrics that are logged there."""
    value: float | None
    """The monitored metric among them."""
    validated: bool = True
    """Whether it is after a validation."""


class Comparison(NamedTuple):
    """How values of the metric compare."""

    sign: int
    """1 if higher is better, else -1."""
    double: bool = False
    """Whether they have double precision."""


class FileChange(NamedTuple):
    """A file that is written, or removed."""

    path: str
    removed: bool = False
    link: str | None = None
    """The file that it is a link to; None if it is none."""


class Saver(Protocol):
    """The checkpoint callback of a library in one run."""

    @property
    def best(self) -> str | None:
        """The file that the library takes for the best model; None if it compares none."""
        ...

    def save(self, moment: Moment) -> Iterable[FileChange]:
        """Return what happens to files at a moment.

        Args:
            moment: The moment.
        """
        ...

    def finish(self) -> Iterable[FileChange]:
        """Return what happens to files when the training ends."""
        ...


class CheckpointSpec(NamedTuple):
    """The checkpoint callback of a library."""

    settings: type[MonitoredCallback]
    saver: Callable[[Any, Comparison], Saver]
    """Returns the saver of one run with these settings."""
    translated: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    """Converts the options of trainbus's ModelCheckpoint, as far as the library has the same."""
    beside: Callable[[Any, Sequence[MonitoredCallback]], Any] = lambda settings, _: settings
    """Converts the settings where early stopping is listed beside them."""
    unanswered: Callable[[Any, Recording], str | None] = lambda _, __: None
    """Returns why a record cannot show what is saved with these settings; None if it can."""
