"""Optimizers, schedulers and scalers of a training."""

from pathlib import Path

import torch
from torch.optim import Adam

from trainbus.adapters.torch import TorchSubject

from .trainings import tiny


def test_a_tensor_rate_is_loaded_in_place() -> None:
    """Any holder of the rate's tensor, such as a captured CUDA graph, sees the rate from the file."""
    rate = torch.tensor(0.5)
    model = tiny()
    subject = TorchSubject(model, Adam(model.parameters(), lr=rate, foreach=False))
    subject.save(Path("model.pt"), weights_only=False)
    rate.fill_(0.25)
    subject.load("model.pt")

    assert (float(rate), subject.learning_rates()) == (0.5, {"learning_rate": 0.5})


def test_the_state_of_a_disabled_scaler_is_skipped() -> None:
    """Mixed precision may be switched on for a training that began without."""
    off, on = (torch.amp.GradScaler("cpu", enabled=enabled, init_scale=8.0) for enabled in (False, True))
    TorchSubject(tiny(), scaler=off).save(Path("model.pt"), weights_only=False)
    TorchSubject(tiny(), scaler=on).load("model.pt")

    assert on.get_scale() == 8.0
