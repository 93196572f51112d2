"""Why a PyTorch training lacks a capability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from trainbus.capabilities import HasActivations, HasDirections, HasGradients, HasTrace, SavesParts

from .inspection.gradients import why_no_gradients
from .inspection.probe import Probe, why_no_probe
from .metric_directions import declares_directions
from .sharding import why_sharded
from .weights import why_unset


def why_not(
    capability: type,
    model: nn.Module,
    parts: Sequence[str],
    optimizers: Mapping[str, Any],
    probe: Probe | None,
    made_by: str = "TorchSubject",
) -> str | None:
    """Return why a training lacks a capability that depends on its model; None if it has it.

    Args:
        capability: The capability.
        model: The module that is trained.
        parts: The names of the models in it, if several were given.
        optimizers: Name to optimizer.
        probe: The data for activations and graphs.
        made_by: What the user writes to give such data.
    """
    if problem := why_sharded(model, capability):
        return problem
    if capability is SavesParts and not parts:
        return "it has one model; several are given by name, as in TorchSubject({'netG': netG, 'netD': netD})"
    if capability is HasDirections and not declares_directions(model):
        return "the model holds no metric objects"
    if capability is HasGradients:
        return why_no_gradients(optimizers)
    if capability is HasActivations:
        return why_no_probe(probe, model, made_by)
    return why_no_probe(probe, model, made_by) or why_unset(model) if capability is HasTrace else None
