"""Each rank gets from a checkpoint what it needs, whatever the number of ranks then and now."""

import json
import random
from typing import Any

import numpy as np
import pytest
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


def saved(states: list[RankState], batches: int, *, compact: bool) -> CheckpointState:
    """The state that rank 0 stores, with the others as differences from its own or complete."""
    others = states[1:]
    if compact:
        first, *compressed = [each.compressed() for each in states]
        others = [each.difference_from(first) for each in compressed]
    position = Position(epochs=2, mid_epoch=True, batches=batches)
    state = CheckpointState(position=position, rank_state=states[0], world_size=len(states), other_ranks=others)
    return CheckpointState.model_validate_json(state.model_dump_json(exclude_defaults=True))


rank_states = st.lists(
    st.builds(
        lambda own, epoch, loop, each, subject: RankState(
            rng=own, epoch_rng=epoch, loop_rng=loop, means=to_json_data(sums_of(each)), subject=subject
        ),
        generators,
        st.none() | generators,
        st.none() | generators,
        logged,
        st.integers(),
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


@given(rank_states, st.booleans())
def test_as_many_ranks_each_get_their_own_state(then: list[RankState], compact: bool) -> None:
    """All of it, however it was stored; generators that equal rank 0's take no room."""
    state = saved(then, 3, compact=compact)
    for rank, before in enumerate(then):
        own = state.for_rank(rank, len(then)).rank_state
        for name in ("rng", "epoch_rng", "loop_rng", "means", "subject"):
            known = from_json_data(getattr(own, name))
            if name in ("rng", "epoch_rng", "loop_rng") and getattr(before, name) is not None:
                first = getattr(then[0], name) or {}
                assert known == {**first, **getattr(before, name)}
            else:
                assert known == from_json_data(getattr(before, name))
    if compact:
        for before, stored in zip(then[1:], state.other_ranks, strict=True):
            assert stored.rng.keys() == {name for name, each in before.rng.items() if then[0].rng.get(name) != each}


@given(rank_states, rank_states)
def test_a_state_is_its_difference_completed(ones: list[RankState], others: list[RankState]) -> None:
    """Of generators that both ranks have, as all ranks of a run do."""
    first, own = ones[0], others[0]
    back = own.difference_from(first).completed_by(first)

    assert back.model_dump(exclude={"rng", "epoch_rng", "loop_rng"}) == own.model_dump(
        exclude={"rng", "epoch_rng", "loop_rng"}
    )
    for name in ("rng", "epoch_rng", "loop_rng"):
        before, mine = getattr(first, name) or {}, getattr(own, name)
        assert getattr(back, name) == (None if mine is None else {**before, **mine})


@given(rank_states, st.integers(1, 6), st.integers(0, 40))
@settings(max_examples=50)
def test_another_number_of_ranks_continues_from_what_all_had(then: list[RankState], now: int, batches: int) -> None:
    """Rank 0 has the metrics of all; a rank keeps its generators, and a new one has those that all had in common."""
    if now == len(then):
        return
    state = saved(then, batches, compact=True)
    joined = RunningMeans()
    for each in then:
        joined.merge(from_json_data(each.means))
    for rank in range(now):
        mine = state.for_rank(rank, now)
        own = mine.rank_state
        assert mine.position.batches == batches
        assert own.subject == then[0].subject
        assert from_json_data(own.means) == (from_json_data(to_json_data(joined.sums())) if rank == 0 else {})
        first = then[0].rng
        if rank < len(then):
            assert from_json_data(own.rng) == {**first, **then[rank].rng}
        else:
            shared = {name for name in first if all(each.rng.get(name, first[name]) == first[name] for each in then)}
            assert from_json_data(own.rng) == {name: first[name] for name in shared}


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("now", [3, 6])
def test_of_a_checkpoint_of_rank_0_alone_other_ranks_begin_without_a_state(rank: int, now: int) -> None:
    """Inside an epoch too: they have logged nothing in it."""
    state = saved([RankState(rng={"python": 1}, means={"a": [1.0, 1]})] * 3, 3, compact=True)
    alone = state.model_copy(update={"other_ranks": []})
    own = alone.for_rank(min(rank, now - 1), now).rank_state
    assert (own.means, own.rng, own.loop_rng) == ({}, None, None)


def test_a_new_rank_gets_loaders_only_if_all_ranks_had_the_same() -> None:
    """Such as the generator by which all of them shuffle alike."""
    same = [RankState(loaders=[{"generators": [1]}], loop_loader={"generators": [rank // 2]}) for rank in range(3)]
    own = saved(same, 3, compact=True).for_rank(3, 4).rank_state
    assert (own.loaders, own.loop_loader) == ([{"generators": [1]}], None)


def test_the_generators_of_a_rank_take_at_most_twelve_kilobytes() -> None:
    """Those of Python, NumPy and torch, if each rank has its own seeds; nothing if all have the same."""

    def drawn(seed: int) -> RankState:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - data sets draw from the global one
        torch.manual_seed(seed)
        return RankState(
            rng=to_json_data({**get_rng_state(), "subject": {"torch": torch.get_rng_state()}})
        ).compressed()

    first, other, same = drawn(0), drawn(1), drawn(0)
    assert 10_000 < len(json.dumps(other.difference_from(first).model_dump(exclude_defaults=True))) < 12_000
    assert same.difference_from(first).rng == {}
    back = other.difference_from(first).completed_by(first)
    assert from_json_data(back.rng)["numpy"]["bit_generator"] == "MT19937"
