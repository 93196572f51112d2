"""Why a training lacks a capability that depends on its model."""

import pytest
from torch import nn

from trainbus.adapters.torch.refusals import why_not
from trainbus.capabilities import HasActivations, HasDirections, HasGradients, HasTrace, Saveable, SavesParts


@pytest.mark.parametrize(
    ("capability", "parts", "why"),
    [
        (
            SavesParts,
            (),
            "it has one model; several are given by name, as in TorchSubject({'netG': netG, 'netD': netD})",
        ),
        (SavesParts, ("netG", "netD"), None),
        (HasDirections, (), "the model holds no metric objects"),
        (Saveable, (), None),
    ],
)
def test_the_reason_is_in_words(capability: type, parts: tuple[str, ...], why: str | None) -> None:
    """None if the training has the capability."""
    assert why_not(capability, nn.Linear(1, 1), parts, {}, None) == why


@pytest.mark.parametrize("capability", [HasActivations, HasTrace, HasGradients])
def test_without_data_or_optimizers_nothing_is_drawn(capability: type) -> None:
    """Activations and graphs need a probe, gradients an optimizer."""
    assert why_not(capability, nn.Linear(1, 1), (), {}, None)
