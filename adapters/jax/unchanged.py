"""Whether a state is still the one that it was: JAX's functions return new arrays, and change none."""

# JAX's types are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import weakref
from typing import Any

import jax

from .leaves import named_leaves


class Unchanged:
    """Remembers the arrays of a state, and keeps none of them alive.

    Args:
        state: The state.

    >>> import jax.numpy as jnp
    >>> state = {"w": jnp.ones(2)}
    >>> unchanged = Unchanged(state)
    >>> unchanged.holds(state), unchanged.holds({"w": state["w"] + 1})
    (True, False)
    """

    def __init__(self, state: Any) -> None:
        leaves = named_leaves(state)
        arrays = all(isinstance(leaf, (jax.Array, int, float)) for leaf in jax.tree.leaves(state))
        self._leaves = {name: weakref.ref(leaf) for name, leaf in leaves.items() if isinstance(leaf, jax.Array)}
        self._may_change_in_place = not (arrays and self._leaves)

    def holds(self, state: Any) -> bool:
        """Return whether a state has the same arrays; False if a step may change them in place, as Flax NNX does."""
        if self._may_change_in_place:
            return False
        leaves = named_leaves(state)
        return all(reference() is leaves.get(name, self) for name, reference in self._leaves.items())
