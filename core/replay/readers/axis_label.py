"""Labels of the columns that say where a row is: its epoch, step, iteration or timestep."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..axis import Unit

_LABELS: dict[Unit, tuple[str, ...]] = {
    "epoch": ("epoch", "epochs", "current_epoch", "epoch_idx", "epoch_index", "epoch_num", "epoch_number", "ep"),
    "timestep": (
        *("time/total_timesteps", "total_timesteps", "timesteps", "timestep", "timesteps_total", "num_timesteps"),
        *("env_steps", "total_env_steps", "num_env_steps_sampled", "num_env_steps_sampled_lifetime", "frames"),
    ),
    "iteration": ("iteration", "iterations", "iter", "iters", "it", "training_iteration", "n_iter", "round"),
    "step": (
        *("global_step", "trainer/global_step", "train/global_step", "step", "steps", "_step", "train_step"),
        *("training_step", "num_updates", "update", "updates", "total_steps", "optimizer_step"),
    ),
}
_PLAIN = re.compile(r"^[#\s]+|[\s#:]+$")


class AxisLabels(NamedTuple):
    """The labels of a file that say where its rows are; None for those that it does not have."""

    epoch: str | None
    counter: str | None
    """The label of the timestep, iteration or step of each row."""
    unit: Unit
    """What the counter counts."""

    @property
    def all(self) -> set[str]:
        """These labels."""
        return {label for label in (self.epoch, self.counter) if label is not None}


def find_axis(labels: Iterable[str]) -> AxisLabels:
    """Return the labels of epochs and of steps among the labels of a file.

    >>> find_axis(["loss", "Step"]), find_axis(["# epoch", "iter", "val_loss"])
    (AxisLabels(epoch=None, counter='Step', unit='step'), AxisLabels(epoch='# epoch', counter='iter', unit='iteration'))
    """
    plain: dict[str, str] = {}
    for label in labels:
        plain.setdefault(_PLAIN.sub("", label).lower().replace(" ", "_"), label)
    found: dict[Unit, str | None] = {}
    for unit, names in _LABELS.items():
        found[unit] = next((plain[name] for name in names if name in plain), None)
    counter = next((unit for unit in ("timestep", "iteration", "step") if found[unit] is not None), "step")
    return AxisLabels(found["epoch"], found[counter], counter)
