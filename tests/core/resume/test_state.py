"""What each rank of several needs of a checkpoint's memory, it gets, whatever the number of ranks then and now."""

import json
import random
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus.metrics.running_means import RunningMeans
from trainbus.resume.rng_state import get_rng_state
from trainbus.resume.serialization import from_json_data, to_json_data
from trainbus.resume.state import CheckpointState, Position, RankState

generators = st.dictionaries(st.sampled_from(["python", "numpy", "subject"]), st.integers(0, 3), min_size=1)
logged = st.lists(st.tuples(st.sampled_from("ab"), st.integers(-8, 8), st.integers(1, 4)), max_size=5)


def sums_of(each: list[tuple[str, int, int]]) -> dict[str, Any]:
    means = RunningMeans()
    for name, value, count in each:
        means.add(name, float(value), count)
    return means.sums()


def remembered(shares: list[RankState], batches: int, *, compact: bool) -> CheckpointState:
    """What rank 0 of these writes, now or as it did before memories were compact."""
    others = shares[1:]
    if compact:
        first, *packed = [share.compressed() for share in shares]
        others = [each.beside(first) for each in packed]
    position = Position(epochs=2, inside=True, batches=batches)
    memory = CheckpointState(**dict(shares[0]), position=position, history=[], world_size=len(shares), others=others)
    return CheckpointState.model_validate_json(memory.model_dump_json(exclude_defaults=True))


shares = st.lists(
    st.builds(
        lambda own, loop, each, subject: RankState(
            random=own, loop_random=loop, means=to_json_data(sums_of(each)), subject=subject
        ),
        generators,
        st.none() | generators,
        logged,
        st.integers(),
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


@given(shares, st.booleans())
def test_as_many_ranks_know_what_each_of_them_knew(then: list[RankState], compact: bool) -> None:
    """All of it, however it was written; generators that stand where rank 0's do take no room."""
    memory = remembered(then, 3, compact=compact)
    for rank, share in enumerate(then):
        own = memory.of(rank, len(then))
        for name in ("random", "loop_random", "means", "subject"):
            known = from_json_data(getattr(own, name))
            if name in ("random", "loop_random") and getattr(share, name) is not None:
                first = getattr(then[0], name) or {}
                assert known == {**first, **getattr(share, name)}
            else:
                assert known == from_json_data(getattr(share, name))
    if compact:
        for share, written in zip(then[1:], memory.others, strict=True):
            assert written.random.keys() == {
                name for name, state in share.random.items() if then[0].random.get(name) != state
            }


@given(shares, st.integers(1, 6), st.integers(0, 40))
@settings(max_examples=50)
def test_other_numbers_of_ranks_go_on_from_what_all_had(then: list[RankState], now: int, batches: int) -> None:
    """Inside an epoch: rank 0 from the metrics of all, every rank from as many samples; the others draw afresh."""
    if now == len(then):
        return
    memory = remembered(then, batches, compact=True)
    joined = RunningMeans()
    for share in then:
        joined.join(from_json_data(share.means))
    for rank in range(now):
        own = memory.of(rank, now)
        assert own.position.batches * now <= batches * len(then) < (own.position.batches + 1) * now
        assert own.subject == then[0].subject
        assert from_json_data(own.means) == (from_json_data(to_json_data(joined.sums())) if rank == 0 else None)
        assert from_json_data(own.random) == (then[0].random if rank == 0 else None)


def test_the_generators_of_a_rank_take_twelve_kilobytes_at_most() -> None:
    """Those of Python, NumPy and torch, where each rank has seeds of its own; nothing where all have the same."""

    def drawn(seed: int) -> RankState:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - data sets draw from the global one
        torch.manual_seed(seed)
        return RankState(
            random=to_json_data({**get_rng_state(), "subject": {"torch": torch.get_rng_state()}})
        ).compressed()

    first, other, same = drawn(0), drawn(1), drawn(0)
    assert 10_000 < len(json.dumps(other.beside(first).model_dump(exclude_defaults=True))) < 12_000
    assert same.beside(first).random == {}
    assert from_json_data(other.beside(first).along(first).random)["numpy"]["bit_generator"] == "MT19937"
