"""Copies of a training's state in main memory, which are written later."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainbus.adapters.torch import TorchSubject

from .trainings import TYPES


@given(kind=st.sampled_from(TYPES), weights_only=st.booleans())
def test_a_copied_state_does_not_change_with_the_training(
    kind: torch.dtype, weights_only: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The copy keeps the state of its step while training continues, also if it reuses the memory of an older one."""
    model = nn.Linear(3, 2)
    model.register_buffer("numbers", torch.zeros(2, 3, dtype=kind))
    optimizer = torch.optim.Adam(model.parameters())
    subject, folder = TorchSubject(model, optimizer), tmp_path_factory.mktemp("detached")

    for number in range(3):
        model.numbers = torch.full((2, 3), number).to(kind)
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        subject.save(folder / "now.pt", weights_only=weights_only)
        detached = subject.snapshot_writer(weights_only=weights_only)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(number + 100)
            model.numbers.fill_(1)
        detached(folder / "later.pt")
        one, other = (torch.load(folder / name, weights_only=True) for name in ("now.pt", "later.pt"))
        for state in (one, other):
            state.pop("random", None)
        assert str(one) == str(other)


def test_a_copied_state_reuses_memory() -> None:
    subject = TorchSubject(nn.Linear(100, 100))
    places = []
    for _ in range(3):
        state = subject.snapshot_writer(weights_only=True).args[0]
        places.append([tensor.data_ptr() for tensor in state.values()])

    assert places[0] == places[1] == places[2]
    assert places[0] != [tensor.data_ptr() for tensor in subject.model.state_dict().values()]
