"""The three layouts: the names of a run's series, and the TensorBoard run of each series."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from trainbus.metrics.names import is_validated, without_validation

LayoutName = Literal["keras", "lightning", "slash"]

RATE = "learning_rate"


class SeriesName(NamedTuple):
    """The TensorBoard run and the tag of a series."""

    run: str
    """The TensorBoard run, as a path relative to the directory."""
    tag: str


class TensorBoardLayout(NamedTuple):
    """A way to name series; no two metrics of one run get the same name, unless they are spellings of one.

    In a pattern, ``{}`` is the metric's name, without ``val_`` or another prefix of a validation.
    """

    main: str
    """The TensorBoard run of everything except validation."""
    validation: str
    """The TensorBoard run of the validation."""
    epoch: str
    """Pattern of a training metric, once an epoch."""
    val: str
    """Pattern of a validation metric, once an epoch."""
    batch: str
    """Pattern of a training metric, every few weight updates."""
    rate: str
    """Pattern of a learning rate."""
    iterations: str | None
    """Pattern of a validation metric over weight updates; None if all series are over weight updates."""

    @property
    def counts_epochs(self) -> bool:
        """Whether the steps of series of epochs are epoch numbers."""
        return self.iterations is not None

    def by_steps(self) -> TensorBoardLayout:
        """Return the layout for a loop by steps: no name speaks of epochs, and all series are over weight updates.

        >>> LAYOUTS["keras"].by_steps().of_epoch("val_loss"), LAYOUTS["lightning"].by_steps().of_epoch("loss")
        (SeriesName(run='validation', tag='loss'), SeriesName(run='.', tag='loss'))
        """
        plain = {name: "{}" for name in ("epoch", "val", "rate") if "epoch" in getattr(self, name)}
        return self._replace(iterations=None, **plain)

    @property
    def runs(self) -> tuple[str, ...]:
        """All TensorBoard runs."""
        return tuple(dict.fromkeys([self.main, self.validation]))

    def of_epoch(self, name: str) -> SeriesName:
        """Return the series of a metric that is written once an epoch.

        >>> LAYOUTS["keras"].of_epoch("val_loss"), LAYOUTS["slash"].of_epoch("val_loss")
        (SeriesName(run='validation', tag='epoch_loss'), SeriesName(run='.', tag='loss/val'))
        >>> LAYOUTS["keras"].of_epoch("valid/loss")
        SeriesName(run='validation', tag='epoch_loss')
        """
        if is_validated(name):
            return SeriesName(self.validation, self.val.format(without_validation(name)))
        rate = name.split("/")[0] == RATE
        return SeriesName(self.main, (self.rate if rate else self.epoch).format(name))

    def of_batch(self, name: str) -> str | None:
        """Return the tag of a running mean; None for a validation metric, which has none."""
        return None if is_validated(name) else self.batch.format(name)

    def charts(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return for each metric the tags of training and validation, as regular expressions, for one chart."""
        bare = dict.fromkeys(without_validation(name) for name in names if name.split("/")[0] != RATE)
        return {
            name: [f"^{re.escape(tag)}$" for tag in (self.epoch.format(name), self.val.format(name))] for name in bare
        }


LAYOUTS: dict[LayoutName, TensorBoardLayout] = {
    "keras": TensorBoardLayout(
        "train", "validation", "epoch_{}", "epoch_{}", "batch_{}", "epoch_{}", iterations="evaluation_{}_vs_iterations"
    ),
    "lightning": TensorBoardLayout(".", ".", "{}_epoch", "val_{}", "{}_step", "{}", iterations=None),
    "slash": TensorBoardLayout(".", ".", "{}/train", "{}/val", "{}/batch", "{}", iterations=None),
}
"""The layout of each name."""
