"""What the series of a run are called in TensorBoard, and where they lie: the three layouts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

LayoutName = Literal["keras", "lightning", "slash"]

RATE = "learning_rate"


class Place(NamedTuple):
    """Where a series lies."""

    run: str
    """The TensorBoard run, as a path below the directory."""
    tag: str


class Layout(NamedTuple):
    """A way to name the series; no two of one run get the same place.

    Patterns hold the metric's name, without its `val_`, as `{}`.
    """

    main: str
    """The TensorBoard run for all that is not of the validation."""
    validation: str
    epoch: str
    """A metric of the training, once an epoch."""
    val: str
    """A metric of the validation, once an epoch."""
    batch: str
    """A metric of the training, every few weight updates."""
    rate: str
    """A learning rate."""
    iterations: str | None
    """A metric of each validation, over weight updates; None where the steps of all series are that."""

    @property
    def counts_epochs(self) -> bool:
        """Whether the steps of what is written once an epoch are epochs."""
        return self.iterations is not None

    @property
    def runs(self) -> tuple[str, ...]:
        """All TensorBoard runs."""
        return tuple(dict.fromkeys([self.main, self.validation]))

    def of_epoch(self, name: str) -> Place:
        """Where a metric of whole epochs lies.

        >>> LAYOUTS["keras"].of_epoch("val_loss"), LAYOUTS["slash"].of_epoch("val_loss")
        (Place(run='validation', tag='epoch_loss'), Place(run='.', tag='loss/val'))
        """
        if name.startswith("val_"):
            return Place(self.validation, self.val.format(name[4:]))
        rate = name.split("/")[0] == RATE
        return Place(self.main, (self.rate if rate else self.epoch).format(name))

    def of_batch(self, name: str) -> str | None:
        """The tag of a metric of the running epoch; None where it has none: it is of the validation."""
        return None if name.startswith("val_") else self.batch.format(name)

    def overlaid(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Charts of training and validation over each other: name to regular expressions of tags."""
        bare = dict.fromkeys(name.removeprefix("val_") for name in names if name.split("/")[0] != RATE)
        return {
            name: [f"^{re.escape(tag)}$" for tag in (self.epoch.format(name), self.val.format(name))] for name in bare
        }


LAYOUTS: dict[LayoutName, Layout] = {
    "keras": Layout(
        "train", "validation", "epoch_{}", "epoch_{}", "batch_{}", "epoch_{}", iterations="evaluation_{}_vs_iterations"
    ),
    "lightning": Layout(".", ".", "{}_epoch", "val_{}", "{}_step", "{}", iterations=None),
    "slash": Layout(".", ".", "{}/train", "{}/val", "{}/batch", "{}", iterations=None),
}
"""Name to layout."""
