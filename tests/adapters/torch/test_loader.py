"""A loader that stores its position continues from there: torchdata's StatefulDataLoader."""

import shutil
from typing import Any

import pytest
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

ROWS, BATCH, EPOCHS = 30, 4, 3
# torchdata 0.11 still calls what torch 2.13 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated", "ignore:This process .* multi-threaded")


class Rows(torch.utils.data.Dataset[torch.Tensor]):
    """Numbered rows, which record the fetched ones."""

    def __init__(self) -> None:
        self.fetched: list[int] = []

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> torch.Tensor:
        self.fetched.append(row)
        return torch.tensor(float(row)) + torch.rand(())  # augmented, from the generator that is restored


def train(rows: Rows, die_at: int | None = None, *, workers: int = 0, resume: str | None = None) -> Any:
    """Return the numbers of the batches with their content, and the final weights."""
    torch.manual_seed(1)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    loader = StatefulDataLoader(rows, BATCH, shuffle=True, num_workers=workers)
    saver = ModelCheckpoint("run/m-{step}", save_freq="1 steps", keep_last=1, background=False)
    seen: list[tuple[int, int, list[float]]] = []
    try:
        with Run(TorchSubject(model, optimizer), saver, verbose=0, resume=resume) as run:
            for epoch in run.epochs(EPOCHS):
                for batch in run.batches(loader):
                    if len(seen) == die_at:
                        raise SystemExit
                    optimizer.zero_grad()
                    model(batch[:, None]).pow(2).mean().backward()
                    optimizer.step()
                    seen.append((epoch, run.batch, batch.tolist()))
    finally:
        del loader  # before the error, which holds this frame: workers that Python ends with a cycle take five seconds
    return seen, {name: weight.tolist() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("die_at", [1, 8, 13, *(pytest.param(at, marks=pytest.mark.exhaustive) for at in (7, 22))])
def test_a_resume_fetches_exactly_the_batches_that_were_left(die_at: int) -> None:
    """Wherever the epoch was interrupted: same rows, same order, same weights, and no batch is fetched in vain."""
    unbroken, weights = train(Rows())
    shutil.rmtree("run")
    with pytest.raises(SystemExit):
        train(Rows(), die_at)

    rows = Rows()
    seen, found = train(rows, resume="auto")

    assert seen == unbroken[die_at:]
    assert found == weights
    assert len(rows.fetched) == sum(len(batch) for *_, batch in seen)


def test_worker_processes_continue_after_a_resume() -> None:
    """If workers fetch the rows, none is trained on twice or left out."""
    unbroken, _ = train(Rows(), workers=2)
    shutil.rmtree("run")
    with pytest.raises(SystemExit):
        train(Rows(), 5, workers=2)
    seen, _ = train(Rows(), workers=2, resume="auto")

    whole = [int(row) for epoch, _, batch in unbroken for row in batch if epoch == 0]
    assert [[int(row) for row in batch] for *_, batch in seen] == [
        [int(row) for row in batch] for *_, batch in unbroken[5:]
    ]
    assert sorted(whole) == list(range(ROWS))


def shuffled_by_workers_that_stay(save_freq: str, resume: str | None = None, die_at: int | None = None) -> list[Any]:
    """Return the batches of workers that start with the first epoch and stay."""
    torch.manual_seed(1)
    rows = torch.utils.data.TensorDataset(torch.arange(float(ROWS)))
    loader = torch.utils.data.DataLoader(rows, BATCH, shuffle=True, num_workers=1, persistent_workers=True)
    saver = ModelCheckpoint("run/m-{step}", save_freq=save_freq, keep_last=1, background=False)
    seen: list[Any] = []
    try:
        with Run(TorchSubject(torch.nn.Linear(1, 1)), saver, verbose=0, resume=resume) as run:
            for epoch in run.epochs(EPOCHS):
                for (batch,) in run.batches(loader):
                    if len(seen) == die_at:
                        raise SystemExit
                    seen.append((epoch, run.batch, batch.tolist(), torch.rand(()).item()))
    finally:
        del loader
    return seen


@pytest.mark.parametrize(
    ("save_freq", "die_at", "first"),
    [("1 steps", 5, 5), pytest.param("1 steps", 13, 13, marks=pytest.mark.exhaustive), ("epoch", 9, 8)],
)
def test_persistent_workers_shuffle_after_a_resume_as_without_an_interruption(
    save_freq: str, die_at: int, first: int
) -> None:
    """They draw from the generator when they start; in the uninterrupted process that was in the first epoch."""
    unbroken = shuffled_by_workers_that_stay(save_freq)
    shutil.rmtree("run")
    with pytest.raises(SystemExit):
        shuffled_by_workers_that_stay(save_freq, die_at=die_at)

    assert shuffled_by_workers_that_stay(save_freq, resume="auto") == unbroken[first:]
