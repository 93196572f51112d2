"""Recorded runs, and the decisions that callbacks would have made in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainbus import BestValue, SettingsError
from trainbus.plugins.frequency import Frequency

from ..metrics.names import is_validated
from .axis import AXES, Unit
from .objective import Objective

UNKNOWN: Final = int(np.iinfo(np.int64).max)
"""In place of weight updates that are not recorded; no minimum of them is above it."""


class Series(NamedTuple):
    """One metric of one run, with an element for each row of its ``Recording``."""

    values: NDArray[np.float64]
    """The logged values; NaN for a row without a value, and for a logged NaN."""
    logged: NDArray[np.bool_]
    """Which rows logged a value: a rule steps on a logged NaN, but not on a row without a value."""


@dataclass(frozen=True)
class Recording:
    """One recorded run, in the same form for every file format, with a row for each epoch.

    A run that counts something else has no epochs: its rows are validations, evaluations, or records of steps,
    iterations or timesteps. Their numbers, counted from 0, are in ``epochs``, and what the run counted is in ``steps``.

    Raises:
        SettingsError: The steps are missing, or there is not one number of steps for each row.

    >>> values = np.array([0.5, 0.25])
    >>> Recording("a", np.arange(2), {"loss": Series(values, np.isfinite(values))}).duration is None
    True
    """

    name: str
    """The name that distinguishes the run: its path relative to the path given to ``read``."""
    epochs: NDArray[np.int64]
    """The recorded epochs, counted from 0, unique and rising."""
    metrics: Mapping[str, Series]
    """Metrics by the name under which trainbus would log them, such as "val_loss"."""
    times: NDArray[np.float64] | None = None
    """The end of each row in seconds, on any clock; None if unknown."""
    format: str = ""
    """The format to display, such as "Keras event files" or "Lightning CSV"."""
    notes: tuple[str, ...] = field(default=())
    """What the reader left out or guessed, one sentence each."""
    unit: Unit = "epoch"
    """What the run counts: epochs, the validations of a loop by steps, or what its log counts."""
    steps: NDArray[np.int64] | None = None
    """The weight updates of the run until the end of each row; of a run that counts iterations or timesteps, these.
    None if unknown."""
    planned: int | None = None
    """The number of the last planned epoch, counted from 1, or of the last planned step of a loop by steps; None if
    unknown."""
    objective: Objective | None = None
    """The metric by which the tool that wrote the record judged the run, and its direction; None if it names none."""
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """The hyperparameters that the tool recorded; settings inside settings have names such as "model/depth"."""
    trained: frozenset[str] = frozenset()
    """The metrics that the record calls those of the training, such as "loss" if it is written as "train_loss"."""
    validations: Recording | None = None
    """The same run with a row for each validation, so that an epoch may have several rows; None if the record has one
    value of each metric for each epoch."""

    def __post_init__(self) -> None:
        """Check the steps."""
        axis = AXES[self.unit]
        if self.steps is None and axis.by_steps:
            raise SettingsError(f"Recording: unit={self.unit!r}: give steps, the {axis.place} of each {axis.row}")
        if self.steps is not None and len(self.steps) != len(self.epochs):
            raise SettingsError(
                f"Recording: steps has {len(self.steps):,} numbers for {len(self.epochs):,} rows; give one for each"
            )

    @property
    def duration(self) -> float | None:
        """The seconds between the ends of the first and the last row; None if unknown."""
        return None if self.times is None or not self.times.size else float(self.times[-1] - self.times[0])

    @property
    def by_steps(self) -> bool:
        """Whether the run counts something other than epochs."""
        return self.unit != "epoch"

    @property
    def has_all_validations(self) -> bool:
        """Whether each validation is known, also of several in an epoch."""
        return self.unit in ("validation", "evaluation") or self.validations is not None

    @property
    def validates_inside_epochs(self) -> bool:
        """Whether an epoch has several validations, or one that is not known to be at its end."""
        found = self.validations
        if found is None or found.steps is None or self.steps is None:
            return False
        ends = self.steps[np.searchsorted(self.epochs, found.epochs)]
        return bool((found.looks > 0).any() or (found.steps != ends).any())

    @property
    def looks(self) -> NDArray[np.int64]:
        """The number of each row among those of its epoch, counted from 0."""
        return np.asarray(np.arange(len(self.epochs)) - np.searchsorted(self.epochs, self.epochs), np.int64)

    @property
    def validated(self) -> NDArray[np.bool_]:
        """Which rows have a validation; if the record does not say, each row of an epoch.

        In a loop by steps that validates, only the last row may end before its validation, with the loop.
        """
        if self.validations is not None:
            return np.isin(self.epochs, self.validations.epochs)
        names = [name for name, each in self.metrics.items() if is_validated(name) and each.logged.any()]
        if AXES[self.unit].row == "record" and names:
            return np.asarray(np.any([self.metrics[name].logged for name in names], axis=0), np.bool_)
        found = np.full(len(self.epochs), self.unit != "validation" or bool(names))
        if self.unit == "validation":
            found[-1:] = any(self.metrics[name].logged[-1] for name in names)
        return found

    def goes_on_after(self, action: SimulatedAction) -> bool:
        """Return whether the epoch of an action has further validations after it."""
        found = self.validations
        if found is None or action.look is None:
            return False
        return action.look + 1 < int(np.count_nonzero(found.epochs == action.epoch))

    def at(self, frequency: Frequency) -> Recording:
        """Return the same run with a row for each moment at which something of this frequency may look."""
        if frequency.unit != "validation" or self.validations is None:
            return self
        return replace(self.validations, name=self.name, validations=self.validations)

    def due(self, frequency: Frequency) -> NDArray[np.bool_] | None:
        """Return at the end of which rows something of this frequency is due; None if it may be due elsewhere too.

        Args:
            frequency: The frequency; of every validation, each row is one, else those of ``validated`` count.

        A share of the training may be reached inside an epoch, unless the run has made no weight updates.

        >>> run = Recording("a", np.arange(6), {}, planned=6)
        >>> run.due(Frequency.parse("50%")), run.due(Frequency.parse("40%"))
        (array([False, False,  True, False, False,  True]), None)
        """
        if frequency.in_epochs:
            return np.asarray(frequency.includes(self.epochs), np.bool_)
        if frequency.unit == "validation":
            validated = self.validated if frequency.every > 1 else np.ones(len(self.epochs), np.bool_)
            return np.asarray(validated & (np.cumsum(validated) % int(frequency.every) == 0), np.bool_)
        if frequency.unit != "percent" or not self.planned:
            return None
        share = frequency.share_of(self.planned)
        by_steps = self.by_steps and self.steps is not None
        ends = self.steps.tolist() if self.steps is not None and by_steps else (self.epochs + 1).tolist()
        due = np.array([end // share > (end - 1) // share for end in ends], np.bool_)
        moments = min(ends[-1] // share, ends[-1]) if ends else 0
        inside = not by_steps and share.denominator > 1 and (self.steps is None or bool(self.steps.any()))
        return None if moments and (inside or moments > due.sum()) else due


Action: TypeAlias = Literal["scale_learning_rate", "keep", "save", "restore", "forget", "stop"]
"""The actions of ``trainbus.decision``, in the order in which a run executes them."""


class SimulatedAction(NamedTuple):
    """One action that a callback would have decided at the end of an epoch, or after a validation."""

    epoch: int
    """Counted from 0; in a loop by steps, the number of the validation."""
    by: str
    """The name of the callback in the run."""
    action: Action
    of: int
    """The epoch whose model is saved, kept, forgotten or restored; otherwise the same as ``epoch``."""
    exact: bool = True
    """False after a learning rate cut that the recorded run did not make. Training would have continued differently,
    so the action assumes that the metric had stayed as recorded. Also False if the callback looks at validations, and
    the record does not have all of them."""
    look: int | None = None
    """After which validation of its epoch, counted from 0; None at the end of the epoch."""
    step: int | None = None
    """Weight updates until that validation; None at the end of the epoch, or if unknown."""

    @property
    def moment(self) -> tuple[int, float]:
        """When it comes: its epoch, and after which validation of it."""
        return self.epoch, inf if self.look is None else self.look


class SavedFile(NamedTuple):
    """A checkpoint file at the stop of a run."""

    path: str
    epoch: int
    """The epoch whose model it holds."""
    best: bool = False
    """Whether it holds the best model, as the callback compares them."""


@dataclass(frozen=True)
class RunOutcome:
    """What callbacks would have decided on one recorded run.

    Epochs count from 0. Of a run that counts something else, each "epoch" here is a row of its ``Recording``.
    """

    name: str
    """The name of the run."""
    first_epoch: int
    last_epoch: int
    """The last recorded epoch; nothing is known after it."""
    decisions: tuple[SimulatedAction, ...]
    """The actions, ordered by epoch; within an epoch, in the order in which a run executes them."""
    best_seen: BestValue | None
    """The best of all values: of every validation if early stopping looks at validations, otherwise of every epoch."""
    best_at_stop: BestValue | None
    """The best of these up to the stop, or up to the last recorded epoch if nothing stops the run."""
    kept: tuple[int, ...] = ()
    """The epochs whose models the checkpoint files hold at the stop."""
    files: tuple[SavedFile, ...] = ()
    """These files."""
    seconds: float | None = None
    """The seconds between the ends of the first and the last recorded epoch; None if unknown."""
    seconds_saved: float | None = None
    """The part of ``seconds`` after the stop."""
    unit: Unit = "epoch"
    """What the run counts, as in ``Recording``."""
    steps: Mapping[int, int] = field(default_factory=dict[int, int])
    """The step, iteration or timestep of each row; empty if the run counts epochs, or if it is unknown."""
    unsure: tuple[str, ...] = ()
    """The callbacks that look at validations of which the record may lack some, so that no action of them is exact."""

    @property
    def stop(self) -> SimulatedAction | None:
        """The action that stops the run; None if nothing does."""
        return next((each for each in self.decisions if each.action == "stop"), None)

    @property
    def censored(self) -> bool:
        """Whether nothing stops the run up to its last recorded epoch, so that its end is unknown."""
        return self.stop is None

    @property
    def epochs(self) -> int:
        """The number of epochs from the first to the last recorded one."""
        return self.last_epoch - self.first_epoch + 1

    @property
    def epochs_saved(self) -> int:
        """The number of recorded epochs after the stop."""
        return self.last_epoch - self.stop.epoch if self.stop is not None else 0

    @property
    def quality_lost(self) -> float | None:
        """The difference between the best seen and the best at the stop; None if one of them does not exist."""
        if self.best_seen is None or self.best_at_stop is None:
            return None
        return abs(self.best_seen.value - self.best_at_stop.value)

    @property
    def cuts(self) -> tuple[SimulatedAction, ...]:
        """The cuts of the learning rate."""
        return tuple(each for each in self.decisions if each.action == "scale_learning_rate")

    @property
    def hypothetical_from(self) -> int | None:
        """The epoch of the first cut that the record does not show; later actions are hypothetical."""
        if self.stop is not None and self.stop.exact:
            return None
        later = next((each.moment for each in self.decisions if not each.exact and each.by not in self.unsure), None)
        return None if later is None else max(cut.epoch for cut in self.cuts if cut.moment < later)

    def as_data(self) -> dict[str, Any]:
        """Return the outcome as plain data for machines.

        Of a run that counts something else, each key of an epoch becomes two: of its row, counted from 0, and of the
        step, iteration or timestep.
        """
        return {
            "run": self.name,
            "unit": self.unit,
            **self._when("first_epoch", self.first_epoch),
            **self._when("last_epoch", self.last_epoch),
            **self._when("stopped_epoch", self.stop.epoch if self.stop else None),
            "stopped_by": self.stop.by if self.stop else None,
            "censored": self.censored,
            **self._when("hypothetical_from", self.hypothetical_from),
            f"{AXES[self.unit].row}s_saved": self.epochs_saved,
            "seconds": self.seconds,
            "seconds_saved": self.seconds_saved,
            "best_seen": self._best(self.best_seen),
            "best_at_stop": self._best(self.best_at_stop),
            "quality_lost": self.quality_lost,
            "checkpoints": [self.steps[each] for each in self.kept] if self.steps else list(self.kept),
            "files": [{"path": each.path, **self._when("epoch", each.epoch), "best": each.best} for each in self.files],
            "decisions": [self._decision(each) for each in self.decisions],
        }

    def as_row(self) -> dict[str, Any]:
        """Return the single-valued part of ``as_data`` as one row of a table."""
        data = self.as_data()
        for name in ("best_seen", "best_at_stop"):
            best = data.pop(name) or {"value": None, **self._when("epoch", None)}
            data |= {name: best.pop("value"), **{f"{name}_{key}": number for key, number in best.items()}}
        del data["decisions"], data["files"]
        data["checkpoints"] = " ".join(map(str, data["checkpoints"]))
        first = self.cuts[0].epoch if self.cuts else None
        return {**data, **self._when("first_cut", first), "cuts": len(self.cuts)}

    def _when(self, key: str, epoch: int | None) -> dict[str, int | None]:
        """Return an epoch by its key; of other units, the row and its step, each by a key of its own."""
        if self.unit == "epoch":
            return {key: epoch}
        stem = key.removesuffix("epoch").rstrip("_")
        prefix = f"{stem}_" if stem else ""
        row, place = AXES[self.unit]
        step = self.steps.get(epoch) if epoch is not None else None
        return {f"{prefix}{row}": epoch, f"{prefix}{place if place != row else 'step'}": step}

    def _best(self, best: BestValue | None) -> dict[str, Any] | None:
        return None if best is None else {"value": best.value, **self._when("epoch", best.epoch)}

    def _decision(self, action: SimulatedAction) -> dict[str, Any]:
        return {
            **self._when("epoch", action.epoch),
            "by": action.by,
            "action": action.action,
            **self._when("of", action.of),
            "exact": action.exact,
            **({} if action.look is None or self.unit != "epoch" else {"look": action.look, "step": action.step}),
        }


def units_of(recordings: Iterable[Recording | RunOutcome]) -> set[Unit]:
    """Return what runs count."""
    return {each.unit for each in recordings}
