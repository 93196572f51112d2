"""The options of callbacks that wait for a better value of a metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, field_validator

from trainbus import MonitoredCallback, SettingsError, TrainbusError
from trainbus.callback import Mode
from trainbus.callback.planned_training import PlannedTraining
from trainbus.capabilities import ReportsMeans, has

from ..frequency import EVERY_EPOCH, Frequency, frequency_text
from .better import better_arguments, is_relative
from .tie_breaker import check_tie_breaker, check_tie_breaker_mode, effective_tie_breaker, unknown_tie_breakers


class ComparisonSettings(MonitoredCallback):
    """The options of callbacks that wait for a better value of a metric."""

    min_delta: Annotated[float, AfterValidator(abs)] = 0.0
    """Smallest change that counts as an improvement; its sign does not matter."""
    min_delta_mode: Literal["abs", "rel"] | None = None
    """Whether ``min_delta`` is a difference ("abs", the default) or a fraction of the magnitude of the best value
    ("rel"), so that 0.01 means 1 %. Without a ``min_delta``, "rel" has no effect, and the run says so."""
    cumulative_delta: bool = True
    """Whether small improvements add up: the value to beat is that of the last improvement. With False, each better
    value becomes the one to beat, even if it is too close to the last to count as an improvement. Without a
    ``min_delta``, False has no effect, and the run says so."""
    ties: Literal["older", "newer"] = "older"
    """Which of equal values is the better one. With "newer", a value that equals the one to beat is an improvement: the
    best value, or with a ``min_delta`` the value that is better by exactly that."""
    tie_breaker: Annotated[str | None, AfterValidator(check_tie_breaker)] = None
    """Name of a second metric: a value that equals the one to beat, which ``ties`` describes, is an improvement if its
    second value is better."""
    tie_breaker_mode: Annotated[Mode, AfterValidator(check_tie_breaker_mode)] = "auto"
    """Whether lower ("min") or higher ("max") values of ``tie_breaker`` are better."""
    every: Annotated[str, BeforeValidator(frequency_text)] = "epoch"
    """When the callback looks at the metric: "epoch", at the end of every epoch; "2 epochs", of each whose number is a
    multiple of 2, "2 epochs from 0" where this number is counted from 0; "validation", at the end of every validation,
    also of several in an epoch; "3 validations", of every third of the run; "100 batches", at the end of each 100th
    batch; "500 steps", at the end of the batch in which the weight updates of the run reach a multiple of 500; "30
    seconds", "10 minutes", "2 hours" or a ``timedelta``, at the end of the first batch that ends so long after the last
    look; "10%" at each tenth of the planned epochs. A look counts only if the metric has a new value since the last
    look, of which it reads the last, and ``patience`` counts looks."""
    value: Literal["mean", "last"] = "mean"
    """What a look inside an epoch reads of a metric that batches log: its mean since the epoch began, or the value of
    the last batch."""

    @property
    def frequency(self) -> Frequency:
        """When the callback looks."""
        return Frequency.parse(self.every)

    @property
    def relative(self) -> bool:
        """Whether ``min_delta`` is a fraction of the best value."""
        return is_relative(vars(self))

    def better(self) -> dict[str, Any]:
        """Return the arguments of a rule that say what counts as better."""
        return better_arguments(vars(self))

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings without those that have no effect."""
        settings = effective_tie_breaker(super().effective_settings(subject), subject)
        settings["every"] = str(self.frequency)
        unused = [] if self.min_delta else ["min_delta_mode", "cumulative_delta"]
        unused += [] if self.frequency.in_batches else ["value"]
        settings["min_delta_mode"] = "rel" if self.relative else "abs"
        return {name: each for name, each in settings.items() if name not in unused}

    def unused_options(self) -> str:
        """Return the options that say how ``min_delta`` counts, if there is none."""
        given = {
            "min_delta_mode='rel'": self.min_delta_mode == "rel",
            "cumulative_delta=False": not self.cumulative_delta,
        }
        names = [name for name, is_given in given.items() if is_given and not self.min_delta]
        if not names:
            return ""
        have, them = ("have", "them") if len(names) > 1 else ("has", "it")
        return f"{' and '.join(names)} {have} no effect without min_delta; give min_delta, or leave {them} out"

    def epoch_options(self) -> Mapping[str, str]:
        """Return ``every`` if it counts several epochs."""
        several = self.frequency.in_epochs and self.frequency.every > 1
        return {f"every={self.every!r}": 'give steps, as in every="500 steps"'} if several else {}

    def never_looks(self, planned: PlannedTraining) -> str:
        """Return why it never looks in what the loop will train; an empty text if it may look."""
        if self.frequency.times_due(planned) != 0:
            return ""
        return f"it never looks at the metric: every={self.every!r}, but {self.frequency.planned_in_words(planned)}"

    def never_waits_out(self, planned: PlannedTraining, patience: int, needed: int, first_epoch: int = 0) -> str:
        """Return why the patience cannot run out in what the loop will train; an empty text if it may.

        Args:
            planned: What the loop will train.
            patience: The option.
            needed: Looks without an improvement that it takes.
            first_epoch: The first epoch that counts.
        """
        earlier = planned._replace(epochs=range(planned.epochs.stop), steps=planned.steps and range(planned.steps.stop))
        looks = self.frequency.times_due(earlier if planned.resumed else planned, first_epoch)
        if looks is None or looks >= needed:
            return ""
        every = "" if self.frequency == EVERY_EPOCH else f" with every={self.every!r}"
        return f"patience={patience} cannot run out{every}, since {planned.in_words()}"

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether metric and direction are the same, and what the callback counts."""
        present = self.effective_settings(subject)
        return super().compatible_with(earlier, subject) and all(
            earlier.get(name, default) == present.get(name)
            for name, default in (("every", "epoch"), ("tie_breaker", None), ("tie_breaker_mode", None))
        )

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also yield a second metric without a direction, and values of batches that the loop does not report."""
        yield from super().validate_for(subject)
        if self.value == "last" and has(subject, ReportsMeans) and subject.reports_means():
            yield SettingsError(
                f"{type(self).__name__}: value='last': this loop reports only means of the epoch; set value=\"mean\""
            )
        yield from unknown_tie_breakers(self, self.tie_breaker, self.tie_breaker_mode, subject)

    @field_validator("value")
    @classmethod
    def _check_value(cls, value: str, info: ValidationInfo) -> str:
        every: str = info.data.get("every", "")
        if value == "last" and every:
            frequency = Frequency.parse(every)
            if not frequency.in_batches or frequency.unit == "percent":  # a share may end with an epoch
                raise ValueError(f'every={every!r} reads no single batches; set every="500 steps", or leave value out')
        return value

    @field_validator("min_delta_mode")
    @classmethod
    def _check_fraction(cls, value: str | None, info: ValidationInfo) -> str | None:
        delta: float = info.data.get("min_delta", 0.0)
        if value == "rel" and delta >= 1:
            raise ValueError(f"min_delta={delta:g} is not a fraction below 1; 0.01 means 1 % of the best value")
        return value
