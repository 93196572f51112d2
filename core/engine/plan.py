"""What a loop trains for: a number of epochs, or a number of steps with a validation every so many.

A loop by steps has no epochs. What callbacks decide about is then an interval: the steps from one validation to the
next. Intervals count from 0, as epochs do.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Unit: TypeAlias = Literal["epoch", "validation"]
"""What a run counts: epochs, or the validations of a loop by steps."""


class EpochPlan(NamedTuple):
    """A loop over epochs.

    >>> plan = EpochPlan(10)
    >>> plan.heading(3, 400), plan.interval(3), plan.moment(3, 400), plan.position(3, 50, 100, 350)
    ('Epoch 4/10', 'epoch 4', 'epoch 4', 3.5)
    """

    total: int | None = None
    """Number of the last epoch, counted from 1; None if unknown."""

    @property
    def unit(self) -> Unit:
        """What the run counts."""
        return "epoch"

    @property
    def validate_every(self) -> None:
        """None: the loop decides when to validate."""

    def is_done(self, epochs: int, step: int) -> bool:
        """Return whether nothing is left to train after so many epochs, and weight updates."""
        return self.total is not None and self.total <= epochs

    def all_done(self) -> str:
        """Return in words that nothing is left to train."""
        return "the epoch is done" if self.total == 1 else f"all {self.total} epochs are done"

    def interval(self, epoch: int) -> str:
        """Name an epoch, counted from 0."""
        return f"epoch {epoch + 1}"

    def moment(self, epoch: int, step: int | None) -> str:
        """Name the moment after ``step`` weight updates, in an epoch."""
        return self.interval(epoch)

    def heading(self, epoch: int, step: int) -> str:
        """Return the words before the metrics of an epoch."""
        return f"Epoch {epoch + 1}{f'/{self.total}' if self.total else ''}"

    def position(self, epoch: int, batches: int, planned: int | None, step: int) -> float:
        """Return how many epochs are done, with the part of this one, of which ``planned`` batches are planned."""
        return epoch + min(1, batches / planned) if planned else epoch

    def share(self, epoch: int, batches: int, planned: int, step: int) -> tuple[int, int] | None:
        """Return the batches that are done, and those of the whole training; None if these are unknown.

        >>> EpochPlan(10).share(3, 50, 100, 350)
        (350, 1000)
        """
        return None if self.total is None else (epoch * planned + min(batches, planned), self.total * planned)


class StepPlan(NamedTuple):
    """A loop by steps.

    >>> plan = StepPlan(5000, 300)
    >>> plan.heading(3, 1200), plan.interval(3), plan.moment(3, 1200), plan.moment(3, None)
    ('Step 1200/5000', 'the steps before validation 4', 'step 1200', 'validation 4')
    >>> [plan.next_validation(step) for step in (0, 299, 300, 4900)]
    [300, 300, 600, 5000]
    """

    total: int | None
    """Number of the last step, counted from 1; None if unknown."""
    validate_every: int
    """Steps from one validation to the next."""

    @property
    def unit(self) -> Unit:
        """What the run counts."""
        return "validation"

    def next_validation(self, step: int) -> int:
        """Return the step after which the next validation is: a multiple of the whole run, or the last step."""
        due = (step // self.validate_every + 1) * self.validate_every
        return due if self.total is None else min(due, self.total)

    def validations_left(self, step: int) -> int | None:
        """Return how many validations come after a step; None without a last step."""
        return None if self.total is None else -(-self.total // self.validate_every) - step // self.validate_every

    def is_done(self, intervals: int, step: int) -> bool:
        """Return whether nothing is left to train after so many intervals, and weight updates."""
        return self.total is not None and self.total <= step

    def all_done(self) -> str:
        """Return in words that nothing is left to train."""
        return "the step is done" if self.total == 1 else f"all {self.total} steps are done"

    def interval(self, number: int) -> str:
        """Name an interval, counted from 0."""
        return f"the steps before validation {number + 1}"

    def moment(self, number: int, step: int | None) -> str:
        """Name the moment after ``step`` weight updates; if these are unknown, the validation after an interval."""
        return f"validation {number + 1}" if step is None else f"step {step}"

    def heading(self, number: int, step: int) -> str:
        """Return the words before the metrics of a validation."""
        return f"Step {step}{f'/{self.total}' if self.total else ''}"

    def position(self, number: int, batches: int, planned: int | None, step: int) -> float:
        """Return how many steps are done."""
        return step

    def share(self, number: int, batches: int, planned: int, step: int) -> tuple[int, int] | None:
        """Return the steps that are done, and those of the whole training; None if these are unknown."""
        return None if self.total is None else (step, self.total)
