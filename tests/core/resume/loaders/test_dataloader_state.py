"""A loader continues by its own state, or by the random generators that it draws from."""

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler
from tqdm import tqdm

from trainbus import Run
from trainbus.resume.loaders.dataloader_state import (
    capture_loader,
    generators_of,
    is_stateful,
    length_of,
    restore_loader,
)


class Stateful:
    """A loader that knows its own position, as torchdata's StatefulDataLoader."""

    def __init__(self, extra: object = None) -> None:
        self.position = 0
        self.extra = extra

    def __iter__(self) -> Iterator[int]:
        while self.position < 9:
            self.position += 1
            yield self.position

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position, "nested": [torch.tensor([1, 2])], "extra": self.extra}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position, self.extra = state["position"], state["nested"][0]


def through_json(state: Any) -> Any:
    return json.loads(json.dumps(state))


def test_a_stateful_loader_continues_by_itself_after_the_batch_it_had_given() -> None:
    """Its state passes through JSON; tensors in it are tensors again."""
    loader = Stateful()
    batches = iter(loader)
    assert [next(batches), next(batches)] == [1, 2]
    again = Stateful()

    assert is_stateful(loader)
    assert restore_loader(again, through_json(capture_loader(loader)))
    assert list(again) == [3, 4, 5, 6, 7, 8, 9]
    assert torch.equal(again.extra, torch.tensor([1, 2]))


def test_a_state_that_is_no_plain_data_is_not_stored() -> None:
    """The batches of such a loader are counted, as those of any other."""
    state = capture_loader(Stateful(extra=object()))

    assert list(state) == ["failure"]
    assert "TypeError: ['extra'] is of type object" in state["failure"]


@pytest.mark.parametrize("error", [AttributeError, NotImplementedError, RuntimeError, KeyError, ValueError])
def test_a_state_dict_that_raises_is_replaced_by_the_generators(error: type[Exception]) -> None:
    """As those of some libraries do."""

    class Wrapped(DataLoader[int]):
        def state_dict(self) -> Any:
            raise error("dl_state_dict")

        def load_state_dict(self, state: Any) -> None:
            raise error("dl_state_dict")

    def make() -> Wrapped:
        data: Any = range(20)
        return Wrapped(data, shuffle=True, generator=torch.Generator().manual_seed(3))

    loader = make()
    list(loader)
    state = through_json(capture_loader(loader))
    expected = [int(each) for each in loader]
    again = make()

    assert state["failure"] == f"{error.__name__}: {error('dl_state_dict')}"
    assert not restore_loader(again, state)
    assert [int(each) for each in again] == expected


class Prepared:
    """A loader as Accelerate prepares it: it passes its methods on, and draws its order from the number of the pass."""

    def __init__(self, base: Any, iteration: int = 0) -> None:
        self.base_dataloader, self.iteration = base, iteration

    def state_dict(self) -> Any:
        return self.base_dataloader.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.base_dataloader.load_state_dict(state)

    def set_epoch(self, epoch: int) -> None:
        self.iteration = epoch


@pytest.mark.parametrize(
    "base", [Stateful(), range(3), DataLoader(range(20), shuffle=True)], ids=lambda each: type(each).__name__
)  # type: ignore[arg-type]
@pytest.mark.parametrize("iteration", [0, 1, 7])
def test_the_number_of_the_pass_is_restored(base: Any, iteration: int) -> None:
    """The position is not, whatever is inside: a stateful loader begins again when it was saved after its end."""
    state, again = through_json(capture_loader(Prepared(base, iteration))), Prepared(base)

    assert not is_stateful(again)
    assert not state.keys() & {"state", "failure"}
    assert not restore_loader(again, state)
    assert again.iteration == iteration


@pytest.mark.parametrize("iteration", ["1", None, True, 1.0])
def test_what_is_no_number_of_a_pass_is_left_as_it_is(iteration: Any) -> None:
    loader = Prepared(range(3), iteration)

    assert capture_loader(loader) is None
    assert not restore_loader(loader, {"iteration": 3})
    assert loader.iteration is iteration


class Shuffled:
    """A sampler of one's own."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def __len__(self) -> int:
        return 20

    def __iter__(self) -> Iterator[int]:
        order = list(range(20))
        if isinstance(self.generator, torch.Generator):
            return iter(torch.randperm(20, generator=self.generator).tolist())
        self.generator.shuffle(order)
        return iter(order)


class Pair:
    """Two loaders in step."""

    def __init__(self, *loaders: Any) -> None:
        self.loaders = loaders

    def __iter__(self) -> Iterator[Any]:
        return zip(*self.loaders, strict=True)


GENERATORS = [
    lambda: random.Random(5),
    lambda: np.random.default_rng(5),
    lambda: np.random.RandomState(5),
    lambda: torch.Generator().manual_seed(5),
]
DATA: Any = range(20)
WRAPPED = [
    Shuffled,
    lambda generator: tqdm(Shuffled(generator), disable=True),
    lambda generator: DataLoader(DATA, sampler=Shuffled(generator)),
    lambda generator: DataLoader(DATA, batch_sampler=BatchSampler(Shuffled(generator), 3, drop_last=False)),
    lambda generator: tqdm(DataLoader(DATA, 4, sampler=Shuffled(generator)), disable=True),
    lambda generator: Pair(Shuffled(generator), DataLoader(DATA, sampler=Shuffled(generator))),
]


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_a_generator_that_the_loader_holds_is_restored(generator: Any, wrapped: Any) -> None:
    """Of Python, NumPy or PyTorch; held by the loader, its samplers, or a loader that it wraps."""
    loader, again = wrapped(generator()), wrapped(generator())
    list(loader)
    state = through_json(capture_loader(loader))
    expected = str(list(loader))

    assert not restore_loader(again, state)
    assert str(list(again)) == expected


def test_the_data_of_a_loader_is_not_searched() -> None:
    """A generator among a million samples is data; so are the attributes of an array."""
    held = random.Random(3)
    data = [random.Random(seed) for seed in range(1000)]

    assert list(generators_of(data)) == []
    assert len(list(generators_of([held, data]))) == 1
    assert list(generators_of({"array": np.arange(9), "module": random, "class": random.Random})) == []


@pytest.mark.parametrize("where", ["loader", "sampler", "both"])
def test_a_shuffled_loader_draws_the_same_order_again(where: str) -> None:
    """By the generator of the loader, of its sampler, or one that both share, which is stored once."""

    def make() -> DataLoader[int]:
        generator = torch.Generator().manual_seed(3)
        data: Any = range(20)
        if where == "loader":
            return DataLoader(data, shuffle=True, generator=generator)
        sampler = RandomSampler(data, generator=generator)
        return DataLoader(data, sampler=sampler, generator=generator if where == "both" else None)

    loader = make()
    list(loader)
    state = through_json(capture_loader(loader))
    expected = [int(each) for each in loader]
    again = make()

    assert len(list(generators_of(again))) == 1
    assert not restore_loader(again, state)
    assert [int(each) for each in again] == expected


@pytest.mark.parametrize("loader", [[1, 2], range(3), "ab", None, (each for each in "ab")])
def test_a_loader_without_state_has_none(loader: Any) -> None:
    """Restoring does not change it either."""
    assert capture_loader(loader) is None
    assert not restore_loader(loader, None)


def test_a_state_of_another_kind_of_loader_is_no_error() -> None:
    """A run may be resumed with another loader: what does not apply to it is ignored."""
    generator = torch.Generator().manual_seed(1)
    data: Any = range(4)
    state = capture_loader(DataLoader(data, shuffle=True, generator=generator))
    before = random.getstate()

    assert not restore_loader([1, 2, 3], state)
    assert not restore_loader([1, 2, 3], capture_loader(Stateful()))
    assert random.getstate() == before


PAIRS = [(was, now) for was in GENERATORS for now in GENERATORS if was is not now]


@pytest.mark.parametrize(("was", "now"), [*PAIRS, (GENERATORS[1], lambda: np.random.Generator(np.random.SFC64(5)))])
def test_a_generator_of_another_kind_keeps_its_own_state(was: Any, now: Any) -> None:
    """The state of the earlier run's generator does not fit it, which is reported."""
    again, reports = Shuffled(now()), list[str]()

    assert not restore_loader(again, through_json(capture_loader(Shuffled(was()))), report=reports.append)

    assert list(again) == list(Shuffled(now()))
    (line,) = reports
    assert line.startswith("batches may be drawn in another order: a random generator of Shuffled refuses its state: ")


@pytest.mark.parametrize("error", [TypeError, NotImplementedError, RuntimeError, ValueError, AttributeError, OSError])
def test_a_loader_whose_length_raises_has_none(error: type[Exception]) -> None:
    """Lightning's CombinedLoader raises a RuntimeError until its iterator exists."""

    class Combined:
        def __len__(self) -> int:
            raise error("Please call `iter(combined_loader)` first.")

        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    assert length_of(Combined()) is None
    with Run() as run:
        for _ in run.epochs(1):
            assert list(run.batches(Combined())) == [0, 1, 2]
