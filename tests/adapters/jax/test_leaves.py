"""The leaves of a pytree by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

from trainbus import CheckpointError
from trainbus.adapters.jax.leaves import check_alike, kind_of, like, named_leaves, on_host, shape_of, with_leaves


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ({"a": 1.0, "b": {"c": 2}}, ["a", "b/c"]),
        ([1.0, (2.0, None)], ["0", "1/0"]),
        (3.0, ["state"]),
        ({"a": {}, "b": []}, []),
        ({1: np.ones(2), "x": jnp.ones(1)}, ["1", "x"]),
    ],
)
def test_names_are_paths(state: Any, names: list[str]) -> None:
    if isinstance(state, dict) and 1 in state:
        state = {str(name): value for name, value in state.items()}
    leaves = named_leaves(state)
    assert list(leaves) == names
    changed = with_leaves(state, dict.fromkeys(names[:1], 9.0))
    assert list(named_leaves(changed).values())[:1] == [9.0] * len(names[:1])
    assert list(named_leaves(changed).values())[1:] == list(leaves.values())[1:]


@pytest.mark.parametrize(
    "leaf", [2, 1.5, True, np.arange(3), np.float32(2), jnp.arange(3, dtype=jnp.bfloat16), jax.random.key(3)]
)
def test_a_leaf_comes_back_as_what_it_was(leaf: Any) -> None:
    again = like(leaf, on_host(leaf))
    assert type(again) is type(leaf)
    assert (kind_of(again), shape_of(again)) == (kind_of(leaf), shape_of(leaf))
    assert np.array_equal(on_host(again), on_host(leaf))


def test_another_state_is_refused() -> None:
    with pytest.raises(CheckpointError, match="the file belongs to another state: it has no 'a'"):
        check_alike({"a": 1.0}, {}, {}, "the file")
