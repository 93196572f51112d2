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
        *(
            "training_step",
            "current_step",
            "current_steps",
            "num_updates",
            "update",
            "updates",
            "optimizer_step",
            "total_steps",
        ),
    ),
}
_PLAIN = re.compile(r"^[#\s]+|[\s#:]+$")


class AxisLabels(NamedTuple):
    """The labels of a file that say where its rows are."""

    epoch: str | None
    """The label of epochs; None if there is none."""
    counters: tuple[tuple[str, Unit], ...] = ()
    """The labels of timesteps, iterations and steps, and what each counts; the most telling one first."""

    @property
    def all(self) -> set[str]:
        """All of these labels."""
        return {label for label, _ in self.counters} | ({self.epoch} if self.epoch is not None else set())


def find_axis(labels: Iterable[str]) -> AxisLabels:
    """Return the labels of epochs and of steps among the labels of a file.

    >>> find_axis(["loss", "Step"])
    AxisLabels(epoch=None, counters=(('Step', 'step'),))
    >>> find_axis(["# epoch", "iter", "val_loss"])
    AxisLabels(epoch='# epoch', counters=(('iter', 'iteration'),))
    """
    plain: dict[str, str] = {}
    for label in labels:
        plain.setdefault(_PLAIN.sub("", label).lower().replace(" ", "_"), label)
    found: list[tuple[str, Unit]] = [
        (plain[name], unit) for unit, names in _LABELS.items() for name in names if name in plain
    ]
    epoch = next((label for label, unit in found if unit == "epoch"), None)
    return AxisLabels(epoch, tuple((label, unit) for label, unit in found if unit != "epoch"))
