"""The direction in which a metric improves, from the torchmetrics objects of a model."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

from trainbus.metrics.names import resolve

from .weights import modules_of

Direction: TypeAlias = Literal["min", "max"]

MISLEADING_FLAGS = frozenset(
    {
        # higher_is_better contradicts what the metric measures (torchmetrics 1.9)
        "DaviesBouldinScore",
        "SpectralDistortionIndex",
        "PerceptualPathLength",
        "WordInfoPreserved",
        # the metric is not one score that could improve
        "BinaryFairness",
        "BinaryGroupStatRates",
        "RetrievalPrecisionRecallCurve",
    }
)


def declares_directions(model: nn.Module) -> bool:
    """Return whether the model holds a metric object with a direction."""
    return any(_declared(module) for _, module in modules_of(model))


def declared_direction(model: nn.Module, metric: str) -> Direction | None:
    """Return the direction of the metric object of this name; None without one, or if several disagree.

    Args:
        model: A module whose submodules, at any depth, may be metric objects.
        metric: The name of the metric object's attribute, with or without "val_" or "train_".
    """
    found: dict[str, set[Direction]] = {}
    for path, module in modules_of(model):
        direction = _declared(module)
        if direction:
            found.setdefault(path.rpartition(".")[2], set()).add(direction)
    name = resolve(metric, found) or resolve(metric.removeprefix("val_").removeprefix("train_"), found)
    directions = found[name] if name else set[Direction]()
    return directions.pop() if len(directions) == 1 else None


def _declared(module: nn.Module) -> Direction | None:
    flag = getattr(module, "higher_is_better", None)
    if not isinstance(flag, bool) or any(kind.__name__ in MISLEADING_FLAGS for kind in type(module).__mro__):
        return None
    return "max" if flag else "min"
