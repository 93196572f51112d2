"""The processes that train one subject: their collective operations, and the subjects that have them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import get_protocol_members

from tests.core.distributed.threads import ThreadRanks, on_all
from trainbus import Run, decision
from trainbus.capabilities import HasRanks, Ranks, Sharded
from trainbus.checkpoints.writer_group import WriterGroup
from trainbus.testing import EventRecorder, LineSubject

from .declared import assert_takes_declared_arguments, implementers

COLLECTIVE = {"all_reduce_sum", "all_reduce_max", "broadcast", "gather"}
OTHER = {"rank", "size", "put_if_absent", "get", "close"}
numbers = st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=2)
plain = st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=2)
SIZES = st.integers(1, 4)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("tests.core.distributed.threads", "ThreadRanks"),
        ("trainbus.adapters.shared.torch_ranks", "TorchRanks"),
        ("trainbus.adapters.shared.jax_ranks", "JaxRanks"),
    ],
)
def test_every_kind_of_ranks_has_the_declared_methods(module: str, name: str) -> None:
    """With the declared arguments; rank and size may be attributes of the object."""
    assert get_protocol_members(Ranks) == COLLECTIVE | OTHER
    assert_takes_declared_arguments(getattr(pytest.importorskip(module, exc_type=ImportError), name), Ranks)


@pytest.mark.parametrize(
    ("capability", "kind"), [(each, kind) for each in (HasRanks, Sharded) for kind in implementers(each)]
)
def test_subjects_take_the_declared_arguments(capability: type, kind: type) -> None:
    """Which ``isinstance`` does not compare."""
    assert_takes_declared_arguments(kind, capability)


@given(st.lists(numbers, min_size=1, max_size=4), st.data())
def test_collective_operations_give_every_rank_its_result(given_numbers: list[list[float]], data: Any) -> None:
    """Sums, maxima and rank 0's value reach all; only rank 0 has the values of all."""
    size = len(given_numbers)
    values = data.draw(st.lists(plain, min_size=size, max_size=size))

    def play(ranks: ThreadRanks) -> tuple[Any, ...]:
        own = given_numbers[ranks.rank]
        reduced = ranks.all_reduce_sum(own), ranks.all_reduce_max(own)
        return (*reduced, ranks.broadcast(values[ranks.rank]), ranks.gather(values[ranks.rank]))

    columns = list(zip(*given_numbers, strict=True))
    expected = ([sum(each) for each in columns], [max(each) for each in columns], values[0])
    assert on_all(size, play) == [(*expected, values if rank == 0 else []) for rank in range(size)]


@given(SIZES, st.text(min_size=1))
def test_the_first_text_under_a_name_stays(size: int, name: str) -> None:
    """Every rank gets the same one, whichever rank was first."""

    def play(ranks: ThreadRanks) -> tuple[str | None, str, str | None]:
        before = ranks.get(f"not {name}")
        return before, ranks.put_if_absent(name, str(ranks.rank)), ranks.get(name)

    found = on_all(size, play)
    assert len(set(found)) == 1
    assert found[0][0] is None
    assert found[0][1] == found[0][2] in map(str, range(size))


class Lasting(ThreadRanks):
    """Ranks of threads that may leave at different times: closing the group does not disturb the last exchange."""

    def close(self) -> None: ...


class Shared(LineSubject):
    """A subject that several threads train, or one alone."""

    def __init__(self, found: ThreadRanks | None) -> None:
        super().__init__()
        self.found, self.asked = found, 0

    def ranks(self) -> ThreadRanks | None:
        return self.found

    def saves_sharded(self, suffix: str) -> bool:
        return suffix == ".shards"

    def writer_group(self) -> ThreadRanks | None:
        self.asked += 1
        return self.found


@given(SIZES)
def test_a_run_has_the_ranks_of_its_subject(size: int) -> None:
    """Rank and number of ranks; what rank 0 decides stops all of them."""

    def play(ranks: ThreadRanks) -> tuple[int, int, int, list[Any]]:
        stops = EventRecorder(
            "on_epoch_end", answer=lambda _: decision.stop("enough") if ranks.rank == 0 else decision.stop("ignored")
        )
        with Run(Shared(Lasting(ranks.meeting, ranks.rank)), stops, verbose=0, signals=()) as run:
            for _ in run.epochs(3):
                run.log(loss=1.0)
        return run.rank, run.world_size, run.result.epochs, [run.result.reason]

    assert on_all(size, play) == [(rank, size, 1, ["enough"]) for rank in range(size)]


class Alone(Shared):
    """A subject that could be trained by several processes and is not."""

    def refusal(self, capability: type) -> str | None:
        return "it is trained alone" if capability is HasRanks else None


@pytest.mark.parametrize("make", [lambda _: Shared(None), Alone, lambda _: LineSubject()])
def test_a_subject_without_ranks_is_trained_alone(make: Any) -> None:
    """Because ``ranks`` returns None, is refused, or does not exist."""

    def play(ranks: ThreadRanks) -> tuple[int, int]:
        with Run(make(ranks), verbose=0, signals=()) as run:
            pass
        return run.rank, run.world_size

    assert on_all(2, play) == [(0, 1), (0, 1)]


@given(SIZES)
def test_ranks_of_a_sharded_subject_write_together(size: int) -> None:
    """The subject is asked for their group once; rank 0 leads, and all learn that one of them failed."""

    def play(ranks: ThreadRanks) -> tuple[bool, bool, bool, int]:
        subject = Shared(ranks)
        group = WriterGroup(subject)
        failed = group.failed_anywhere([ranks.rank == size - 1, False])
        return (*failed, group.leads, subject.asked)

    assert on_all(size, play) == [(True, False, rank == 0, 1) for rank in range(size)]
