"""Pass after pass over a loader, in intervals, and the position in it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from trainbus.adapters.torch import TorchSubject
from trainbus.resume.loaders.dataloader_state import batch_size_of, capture_loader, generators_of, restore_loader
from trainbus.resume.loaders.stream import Stream

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital'")  # torchdata calls it
ROWS: Any = range(11)
SUBJECT = TorchSubject(torch.nn.Linear(1, 1))
"""What holds PyTorch's global generator."""


class Shuffled:
    """A loader with a generator of its own, in Python."""

    def __init__(self) -> None:
        self.random = random.Random(5)

    def __iter__(self) -> Iterator[int]:
        yield from self.random.sample(ROWS, len(ROWS))


def sampler(rank: int = 0, ranks: int = 1) -> Any:
    return DistributedSampler(ROWS, ranks, rank, shuffle=True)


LOADERS: dict[str, Callable[[], Any]] = {
    "list": lambda: [*ROWS],
    "shuffled": lambda: DataLoader(ROWS, batch_size=3, shuffle=True),
    "own generator": lambda: DataLoader(ROWS, batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "batch sampler": lambda: DataLoader(ROWS, batch_sampler=BatchSampler(RandomSampler(ROWS), 3, drop_last=True)),
    "distributed": lambda: DataLoader(ROWS, batch_size=3, sampler=sampler()),
    "stateful": lambda: StatefulDataLoader(ROWS, batch_size=3, shuffle=True),
    "python": Shuffled,
    "function": lambda: lambda: random.random() + float(torch.rand(())),
}


def of(kind: str) -> Stream[Any]:
    torch.manual_seed(1), random.seed(1)
    return Stream(LOADERS[kind](), SUBJECT)


def drawn(stream: Stream[Any], interval: int, size: int) -> list[str]:
    stream.begin(interval, size)
    return [str(batch) for batch in stream]


@given(st.sampled_from(sorted(LOADERS)), st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 12))
def test_a_restored_stream_goes_on(kind: str, sizes: list[int], more: int) -> None:
    """With the next batch of its pass; the loader and every generator are as they were."""
    stream = of(kind)
    for interval, size in enumerate(sizes):
        drawn(stream, interval, size)
    saved, random_state, torch_state = (
        json.loads(json.dumps(capture_loader(stream))),
        random.getstate(),
        torch.get_rng_state(),
    )
    passes, expected = stream.passes, drawn(stream, 99, more)

    again = of(kind)
    again.begin(99, more)
    assert restore_loader(again, saved)
    random.setstate(random_state), torch.set_rng_state(torch_state)
    assert again.passes == passes
    assert [str(batch) for batch in again] == expected


@given(st.integers(1, 9), st.integers(0, 9))
def test_an_interval_is_continued_after_the_batches_that_were_drawn(size: int, done: int) -> None:
    """The next interval begins with none."""
    stream = of("shuffled")
    stream.begin(4, size)
    for batch in stream:
        if stream.drawn >= min(done, size):
            break
        del batch
    saved = stream.state_dict()
    for interval, left in ((4, size - stream.drawn), (5, size)):
        again = of("shuffled")
        again.begin(interval, size)
        again.load_state_dict(saved)
        assert (len([*again]), again.at_last, len(again)) == (left, True, size)


def test_nothing_looks_into_a_stream() -> None:
    """A search for generators or batch sizes would find those of the subject."""
    stream = Stream(DataLoader(ROWS, batch_size=3, generator=torch.Generator()), torch.nn.Linear(1, 1))
    assert ([*generators_of(stream)], batch_size_of(stream)) == ([], None)


@pytest.mark.parametrize("ended", [0, 1, 5])
def test_a_loader_that_gives_nothing_anew_has_ended(ended: int) -> None:
    """An iterator, or an empty list."""
    stream = Stream(iter(range(ended)) if ended else [])
    assert drawn(stream, 0, 9) == [*map(str, range(ended))]
    assert (stream.ended, stream.at_last, stream.drawn) == (True, False, ended)


class Parts:
    """A loader of another library, with a sampler inside its batch sampler."""

    def __init__(self, *names: str) -> None:
        self.calls: list[tuple[str, int]] = []
        for name in names:
            self.place(name)

    def place(self, name: str) -> None:
        calls = self.calls

        class Part:
            def set_epoch(self, number: int) -> None:
                calls.append((name, number))

        part: Any = Part()
        if name == "loader":
            self.set_epoch = part.set_epoch
        elif name == "batch_sampler.sampler":
            self.batch_sampler: Any = type("Batches", (), {})()
            self.batch_sampler.sampler = part
        else:
            setattr(self, name, part)

    def __iter__(self) -> Iterator[int]:
        yield from range(3)


@pytest.mark.parametrize(
    ("names", "called"),
    [
        (["sampler"], ["sampler"]),
        (["batch_sampler.sampler", "dataset"], ["batch_sampler.sampler", "dataset"]),
        (["loader", "sampler"], ["loader"]),
        (["dataset"], ["dataset"]),
        ([], []),
    ],
)
def test_what_has_set_epoch_learns_the_pass(names: list[str], called: list[str]) -> None:
    """A loader passes it on itself; the first pass is 0 by itself."""
    parts = Parts(*names)
    stream = Stream(parts)
    drawn(stream, 0, 7)
    assert parts.calls == [(name, number) for number in (1, 2) for name in called]
    again = Parts(*names)
    restored = Stream(again)
    restored.load_state_dict(stream.state_dict())
    assert again.calls[: len(called)] == [(name, 2) for name in called]


@pytest.mark.parametrize(("ranks", "done"), [(1, 4), (4, 2), (2, 6)])
def test_another_number_of_ranks_continues_the_pass(ranks: int, done: int) -> None:
    """Each rank goes on after the samples that all ranks had; what is not exact is reported."""
    data: Any = range(48)

    def stream(rank: int, of: int, report: Any = lambda _: None) -> Stream[Any]:
        loader: Any = DataLoader(data, batch_size=2, sampler=DistributedSampler(data, of, rank, shuffle=True))
        return Stream(loader, None, of, report)

    before, seen = [stream(rank, 2) for rank in range(2)], set[int]()
    for each in before:
        each.begin(0, done)
        seen |= {int(row) for batch in each for row in batch}
    problems: list[str] = []
    now = [stream(rank, ranks, problems.append) for rank in range(ranks)]
    for each in now:
        each.load_state_dict(before[0].state_dict())
        each.begin(1, 12 * 2 // ranks - done * 2 // ranks)
    rest = [int(row) for each in now for batch in each for row in batch]
    assert seen.isdisjoint(rest)
    assert sorted([*seen, *rest]) == [*data]
    assert problems == []


@pytest.mark.parametrize(
    "change",
    [
        {"passes": -1},
        {"done": "5"},
        {"drawn": 10**30},
        {"begun": 5},
        {"begun": "no JSON"},
        {"begun": '{"rng": {"python": 5}, "loader": null}'},
        {"ranks": 0},
        {"batches": 1.5},
    ],
)
def test_a_damaged_position_is_an_error(change: dict[str, Any]) -> None:
    """Whoever restores it draws from the loader anew."""
    stream = of("shuffled")
    drawn(stream, 0, 5)
    with pytest.raises((ValueError, TypeError, KeyError)):
        of("shuffled").load_state_dict({**stream.state_dict(), **change})


def test_a_loader_that_has_become_shorter_is_reported() -> None:
    """The rest of its pass is empty, and the next one begins."""
    lines: list[str] = []
    stream = Stream([1, 2, 3, 4, 5])
    drawn(stream, 0, 4)
    again = Stream([1, 2], report=lines.append)
    again.load_state_dict(stream.state_dict())
    assert drawn(again, 1, 3) == ["1", "2", "1"]
    assert lines == ["the loader gives only 2 batches, but 4 of the pass were trained on"]


def test_an_iterator_is_drawn_from_again() -> None:
    """With a line that says so."""
    lines: list[str] = []
    stream = Stream(iter(range(9)))
    drawn(stream, 0, 4)
    again = Stream(iter(range(9)), report=lines.append)
    again.load_state_dict(stream.state_dict())
    assert drawn(again, 1, 2) == ["4", "5"]
    assert [line.partition(":")[0] for line in lines] == [
        "4 batches are drawn again from the range_iterator that gives the batches"
    ]


def test_an_interval_without_a_size_has_no_length() -> None:
    """It ends when the loop says so."""
    stream = Stream([1, 2])
    stream.begin(0, None)
    batches = iter(stream)
    assert [next(batches) for _ in range(5)] == [1, 2, 1, 2, 1]
    assert not stream.at_last
    with pytest.raises(TypeError, match="has no length"):
        len(stream)
