"""The generators that a PyTorch training draws from continue exactly where their state was taken."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.shared.torch_rng import (
    random_state,
    set_random_state,
    set_torch_random_state,
    torch_random_state,
)
from trainbus.resume.serialization import from_json_data, to_json_data


def saved(state: Any) -> Any:
    """Return the state after a checkpoint held it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def in_manifest(state: Any) -> Any:
    """Return the state after it was JSON data, which turns tensors into arrays."""
    return from_json_data(to_json_data(state))


def drawn(count: int) -> list[float]:
    """Return numbers of every generator; Gaussian ones, since a generator may keep the second of a pair."""
    numbers: list[float] = []
    for _ in range(count):
        numbers += [random.gauss(), np.random.randn(), float(torch.randn(()))]  # noqa: NPY002 - the global one
        if torch.cuda.is_available():
            numbers += [float(torch.randn((), device=device)) for device in range(torch.cuda.device_count())]
    return numbers


@given(before=st.integers(0, 5), between=st.integers(0, 5), after=st.integers(1, 5))
@pytest.mark.parametrize("passed", [lambda state: state, saved])
def test_all_generators_continue_where_they_were(
    passed: Callable[[Any], Any], before: int, between: int, after: int
) -> None:
    """Whatever was drawn since, also after a file that ``torch.load(weights_only=True)`` has read."""
    drawn(before)
    state = passed(random_state())
    expected = drawn(after)
    drawn(between)
    set_random_state(state)

    assert drawn(after) == expected


@given(before=st.integers(0, 5), after=st.integers(1, 5))
@pytest.mark.parametrize("passed", [lambda state: state, saved, in_manifest])
def test_torchs_generators_alone_leave_the_others_as_they_are(
    passed: Callable[[Any], Any], before: int, after: int
) -> None:
    """The run itself keeps the states of Python and NumPy."""
    drawn(before)
    state = passed(torch_random_state())
    expected = torch.randn(after)
    others = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    set_torch_random_state(state)

    assert torch.equal(torch.randn(after), expected)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == others  # noqa: NPY002


def test_a_state_is_small() -> None:
    """Pickled it is the words of the generators and little more."""
    state = random_state()

    assert len(pickle.dumps([state["python"], state["numpy"]])) < 2 * 625 * 8 + 2000


def test_a_state_of_more_devices_is_restored_as_far_as_there_are_devices() -> None:
    """A checkpoint of a machine with GPUs restores the others' generators on one that has fewer."""
    state = torch_random_state()
    expected = torch.randn(3)
    set_torch_random_state({**state, "cuda": [*state["cuda"], *[torch.zeros(16, dtype=torch.uint8)] * 8][:8]})

    assert torch.equal(torch.randn(3), expected)
