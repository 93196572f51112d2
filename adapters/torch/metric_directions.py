"""Which way a metric improves, as the torchmetrics objects of a model say."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

from trainbus.metrics.names import resolve

from .weights import modules_of

__all__ = ["declared_direction", "declares_directions"]

Direction: TypeAlias = Literal["min", "max"]

MISLEADING_FLAGS = frozenset(
    {
        # higher_is_better contradicts what the metric measures (torchmetrics 1.9)
        "DaviesBouldinScore",
        "SpectralDistortionIndex",
        "PerceptualPathLength",
        "WordInfoPreserved",
        # not one score that could be better or worse
        "BinaryFairness",
        "BinaryGroupStatRates",
        "RetrievalPrecisionRecallCurve",
    }
)


def declares_directions(model: nn.Module) -> bool:
    """Whether the model holds any metric object that says which way it improves."""
    return any(_declared(module) for _, module in modules_of(model))


def declared_direction(model: nn.Module, metric: str) -> Direction | None:
    """What the metric object of this name says; None where there is none, or several that disagree.

    Args:
        model: holds metric objects as attributes, wherever.
        metric: the attribute's name, with or without `val_` or `train_`.
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
