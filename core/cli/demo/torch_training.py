"""Train on the digits with a PyTorch loop."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from trainbus import Callback, Run
from trainbus.adapters.torch import TorchSubject

from .data import Digits


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    torch.manual_seed(0)
    x, y, x_val, y_val = (torch.from_numpy(array) for array in data)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    loss_of = torch.nn.functional.cross_entropy
    with Run(TorchSubject(model, optimizer, probe=x_val), callbacks, resume=resume) as run:
        for _ in run.epochs(epochs):
            for images, labels in run.batches(loader):
                loss = loss_of(model(images), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                run.log(loss=loss, count=len(images))
            with run.validation(), torch.no_grad():
                scores = model(x_val)
                run.log(loss=loss_of(scores, y_val), accuracy=(scores.argmax(1) == y_val).float().mean())
    return run
