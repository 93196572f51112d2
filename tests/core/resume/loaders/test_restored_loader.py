"""A loader that refuses its saved state is drawn from again, and one warning says so."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

from .interrupted import EPOCHS, ROWS, Make, loader, resumed, train


class Refusing(DataLoader[int]):
    """A loader that saves a state and does not accept it: ``refuse`` is called in ``load_state_dict``."""

    refuse: Callable[[], Any]

    def state_dict(self) -> Any:
        return {"position": 1}

    def load_state_dict(self, state: Any) -> None:
        self.loaded = state
        self.refuse()


def raising(error: Exception) -> Callable[[], Any]:
    def refuse() -> None:
        raise error

    return refuse


def refusing(refuse: Callable[[], Any], kind: type[Refusing] = Refusing) -> Make:
    def make() -> Callable[[], Any]:
        rows: Any = range(ROWS)
        one = kind(rows, shuffle=True, generator=torch.Generator().manual_seed(7))
        one.refuse = refuse
        return lambda: one

    return make


class RefusingLater(Refusing):
    """It accepts the state, and raises when it is iterated over, as torchdata's loader does."""

    def load_state_dict(self, state: Any) -> None:
        self.loaded = state

    def __iter__(self) -> Any:
        torch.rand(1, generator=self.generator)
        if hasattr(self, "loaded"):
            self.refuse()
        return super().__iter__()


REFUSALS = [
    raising(AttributeError("no dl_state_dict")),
    raising(NotImplementedError()),
    raising(KeyError("position")),
    lambda: torch.nn.Linear(1, 1).load_state_dict({}),
    lambda: torch.Generator().set_state(torch.zeros(3)),
    lambda: np.zeros(3).reshape(2),
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("refuse", REFUSALS)
@pytest.mark.parametrize("kind", [Refusing, RefusingLater])
@pytest.mark.parametrize("die_at", [3, ROWS + 3])
def test_a_loader_that_refuses_its_state_is_drawn_from_again(
    refuse: Callable[[], Any], kind: type[Refusing], die_at: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its load_state_dict raises, or its iterator does: the run continues on the right batches, with one warning."""
    unbroken, found = resumed(refusing(refuse, kind), die_at)

    assert found == unbroken[die_at:]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "without training on the first 3 batches" in line
    assert f"since {kind.__name__} refuses its saved state: " in line


@pytest.mark.parametrize("kind", [Refusing, RefusingLater])
def test_a_loader_that_refuses_its_state_begins_a_later_epoch_anew(
    kind: type[Refusing], caplog: pytest.LogCaptureFixture
) -> None:
    """Of a run that was saved at the end of an epoch; its generator is restored."""
    unbroken, found = resumed(refusing(raising(ValueError("of 4 workers")), kind), ROWS + 2, save_freq="epoch")

    assert found == unbroken[ROWS:]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"{kind.__name__} refuses its saved state: ValueError: of 4 workers" in line
    assert "its first batch comes next, since" in line


@pytest.mark.filterwarnings("ignore:'set_vital'")
@pytest.mark.parametrize(("die_at", "save_freq"), [(3, "1 step"), (ROWS + 2, "epoch")])
def test_torchdata_loaders_may_have_another_number_of_workers(
    die_at: int, save_freq: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They accept any state, and each iterator raises AssertionError for that of another number of workers."""

    def make(workers: int) -> Make:
        one = StatefulDataLoader(list(range(ROWS)), num_workers=workers)
        return lambda: lambda: one

    with pytest.raises(SystemExit):
        train(make(0), die_at, save_freq=save_freq)

    found = train(make(1), resume="auto", save_freq=save_freq)

    whole = [(epoch, str(torch.tensor([row]))) for epoch in range(EPOCHS) for row in range(ROWS)]
    assert found == whole[die_at if save_freq == "1 step" else ROWS :]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "StatefulDataLoader refuses its saved state: AssertionError: State doesn't contain" in line


def test_loops_that_were_complete_may_refuse_their_state(caplog: pytest.LogCaptureFixture) -> None:
    """Two loops in an epoch: the first was complete when the run was killed in the second."""

    def run(die_at: int | None = None, resume: str | None = None) -> list[Any]:
        torch.manual_seed(1)
        one, other = refusing(raising(KeyError("position")))(), loader(own=True)
        saver, seen = ModelCheckpoint("run/m", save_freq="1 step", background=False), []
        with Run(TorchSubject(torch.nn.Linear(1, 1)), saver, verbose=0, resume=resume) as run:
            for epoch in run.epochs(2):
                for batches in (one(), other):
                    for row in run.batches(batches):
                        if len(seen) == die_at:
                            raise SystemExit
                        seen.append((epoch, str(row)))
        return seen

    unbroken = run()
    shutil.rmtree("run")
    with pytest.raises(SystemExit):
        run(die_at=ROWS + 6)

    assert run(resume="auto") == unbroken[ROWS + 6 :]
    assert caplog.text.count("Refusing refuses its saved state") == 1


def test_an_error_of_the_loader_itself_is_raised() -> None:
    """A loader that cannot be iterated over at all has no other way."""

    class Broken(Refusing):
        def __iter__(self) -> Any:
            raise OSError("the data set is gone")

    with pytest.raises(SystemExit):
        train(refusing(raising(KeyError("position"))), 3)

    with pytest.raises(OSError, match="the data set is gone"):
        train(refusing(lambda: None, Broken), resume="auto")
