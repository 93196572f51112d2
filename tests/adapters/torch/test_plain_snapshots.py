"""Snapshots as plain data."""

import io
from typing import Any

import torch

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.plain_snapshots import with_plain_snapshots, with_snapshots
from trainbus.plugins import EarlyStopping


def state_of(run: Run, losses: list[float]) -> dict[str, Any]:
    with run:
        for epoch in run.epochs(len(losses)):
            run.log(val_loss=losses[epoch])
    return run.state_dict()


def test_they_survive_a_file_that_is_read_as_weights_only() -> None:
    """To the bit; what another subject keeps is left as it is."""
    model = torch.nn.Linear(2, 1)
    state = state_of(
        Run(TorchSubject(model), EarlyStopping(patience=9, restore_best_weights=True), verbose=0), [1.0, 2.0]
    )
    file = io.BytesIO()
    torch.save(with_plain_snapshots(state), file)
    file.seek(0)
    found = with_snapshots(torch.load(file, weights_only=True))

    assert found["entry"] == state["entry"]
    (one,), (other,) = found["snapshots"].values(), state["snapshots"].values()
    assert type(one) is type(other)
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in other.weights)
    others: dict[str, Any] = {"snapshots": {"best": (1, 2), "last": {"weights": 1}}}
    assert with_snapshots(with_plain_snapshots(others)) == others
