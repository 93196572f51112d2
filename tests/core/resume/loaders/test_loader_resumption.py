"""A resumed run trains on the batches that were left, or says what it cannot know."""

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

from .interrupted import ROWS, Make, loader, resumed, train


def zipped() -> Callable[[], Any]:
    one, other = loader(), loader()
    return lambda: zip(one, other, strict=True)


def enumerated() -> Callable[[], Any]:
    one = loader()
    return lambda: enumerate(one)


def mapped() -> Callable[[], Any]:
    one = loader()
    return lambda: map(str, one)


def chained() -> Callable[[], Any]:
    one, other = loader(), loader()
    return lambda: itertools.chain(one, other)


def generated() -> Callable[[], Any]:
    def batches() -> Iterator[float]:
        for _ in range(ROWS):
            yield random.random()

    return batches


def drawn_before() -> Callable[[], Any]:
    """The script draws before the loop, which shuffles afterwards."""
    one = loader()

    def batches() -> Any:
        torch.rand(3)
        return one

    return batches


def listed() -> Callable[[], Any]:
    return lambda: torch.randperm(ROWS).tolist()


def own_generator() -> Callable[[], Any]:
    one = loader(own=True)
    return lambda: one


def with_a_bar() -> Callable[[], Any]:
    one = loader(own=True)
    return lambda: tqdm(one, disable=True)


class Bar:
    """An object of a script that wraps an iterator under an attribute."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __iter__(self) -> Iterator[Any]:
        return iter(self.wrapped)


def zipped_with_a_bar() -> Callable[[], Any]:
    one, other = loader(own=True), loader()
    return lambda: tqdm(zip(one, other, strict=True), disable=True)


def enumerated_in_an_object() -> Callable[[], Any]:
    one = loader()
    return lambda: Bar(Bar(enumerate(one)))


def generated_with_a_bar() -> Callable[[], Any]:
    make = generated()
    return lambda: Bar(tqdm(make(), disable=True))


class Made:
    """A loader that makes its iterator by a function, which holds the loaders."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        return iter(self.make())


def enclosed() -> Callable[[], Any]:
    one, other = loader(own=True), loader(own=True)
    made = Made(lambda: zip(one, other, strict=True))
    return lambda: made


def enclosed_in_a_function() -> Callable[[], Any]:
    generator = torch.Generator().manual_seed(4)

    def order() -> Any:
        return torch.randperm(ROWS, generator=generator).tolist()

    made = Made(order)
    return lambda: tqdm(made, disable=True)


ITERATORS = [zipped, enumerated, mapped, chained, generated]
WRAPPED = [zipped_with_a_bar, enumerated_in_an_object, generated_with_a_bar]


@pytest.mark.parametrize(
    "make", [*ITERATORS, *WRAPPED, enclosed, enclosed_in_a_function, drawn_before, listed, own_generator, with_a_bar]
)
@pytest.mark.parametrize("die_at", [5, *(pytest.param(at, marks=pytest.mark.exhaustive) for at in (ROWS, ROWS + 1))])
@pytest.mark.covering(1)
def test_a_run_that_was_killed_trains_on_the_batches_that_were_left(
    make: Make, die_at: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Every sample once an epoch, in the order of the unbroken run; what trainbus cannot know is one warning."""
    unbroken, found = resumed(make, die_at)

    assert found == unbroken[die_at:] or make is zipped_with_a_bar  # whose generator no one can find
    warned = [record for record in caplog.records if "where the" in record.getMessage()]
    assert len(warned) == (make in (*ITERATORS, *WRAPPED))


@pytest.mark.parametrize("save_freq", ["1 step", "epoch"])
@pytest.mark.parametrize("cut", [lambda rows: itertools.islice(rows, 5), lambda rows: (next(rows) for _ in range(5))])
def test_a_part_of_an_endless_iterator_is_reported(cut: Any, save_freq: str, caplog: pytest.LogCaptureFixture) -> None:
    """A new process begins it anew, which no loop can see."""

    def make() -> Callable[[], Any]:
        endless = iter(range(10**6))
        return lambda: cut(endless)

    resumed(make, 7, save_freq)

    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "unless it begins with the first batch of epoch 2 again, samples are trained on twice or never" in line
    assert "give run.batches() the loader itself, or an object with state_dict and load_state_dict" in line


def test_an_iterator_that_knows_its_position_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Rows:
        def __init__(self) -> None:
            self.row = 0

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            self.row += 1
            if self.row % ROWS == 0:
                raise StopIteration
            return self.row

        def state_dict(self) -> dict[str, int]:
            return {"row": self.row}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.row = state["row"]

    def make() -> Callable[[], Any]:
        rows = Rows()
        return lambda: rows

    unbroken, found = resumed(make, 9)

    assert found == unbroken[9:]
    assert caplog.records == []


def test_a_loader_whose_state_dict_raises_is_drawn_from_again(caplog: pytest.LogCaptureFixture) -> None:
    class Prepared(DataLoader[int]):
        def state_dict(self) -> Any:
            raise AttributeError("'DataLoader' object has no attribute 'state_dict'")

        def load_state_dict(self, state: Any) -> None:
            raise AssertionError

    def make() -> Callable[[], Any]:
        rows: Any = range(ROWS)
        one = Prepared(rows, shuffle=True, generator=torch.Generator().manual_seed(7))
        return lambda: one

    unbroken, found = resumed(make, 11)

    assert found == unbroken[11:]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "without training on the first 3 batches, since state_dict() of Prepared has failed: AttributeError" in line


def test_a_loader_that_has_become_shorter_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The epoch has no batch left."""
    with pytest.raises(SystemExit):
        train(lambda: lambda: list(range(ROWS)), 6)

    found = train(lambda: lambda: [0, 1, 2], resume="auto")

    assert found == [(epoch, str(batch)) for epoch in (1,) for batch in range(3)]
    assert "the loader gives only 3 batches, but 6 of the epoch were trained on" in caplog.text


def test_data_that_an_epoch_draws_at_its_beginning_serves_every_loop_of_it() -> None:
    """The generators are restored as they were then, although a later loop was interrupted."""

    def run(die_at: int | None = None, resume: str | None = None) -> list[Any]:
        torch.manual_seed(1)
        saver, seen = ModelCheckpoint("run/m", save_freq="1 step", background=False), []
        with Run(TorchSubject(torch.nn.Linear(1, 1)), saver, verbose=0, resume=resume) as run:
            for epoch in run.epochs(2):
                order = torch.randperm(ROWS).tolist()
                for half in (order[:4], order[4:]):
                    for row in run.batches(half):
                        if len(seen) == die_at:
                            raise SystemExit
                        torch.rand(1)
                        seen.append((epoch, row))
        return seen

    unbroken = run()
    shutil.rmtree("run")
    with pytest.raises(SystemExit):
        run(die_at=ROWS + 6)

    assert run(resume="auto") == unbroken[ROWS + 6 :]
