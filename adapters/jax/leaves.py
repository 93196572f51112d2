"""The arrays of a pytree by name, also those inside of objects of Flax NNX."""

# JAX's and Flax's types are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainbus import CheckpointError, SettingsError

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    from trainbus import MissingDependency

    raise MissingDependency(f"{error}; pip install 'trainbus[jax]'") from error

KEY = "key:"
"""What the dtype of a random key begins with in a file; the implementation of its generator follows."""


def named_leaves(state: Any) -> dict[str, Any]:
    """Return the arrays and numbers of a state by name; parts of a name are joined by "/".

    Raises:
        SettingsError: A leaf is none of these, or two have the same name.

    >>> named_leaves({"params": {"w": 1.0}, "steps": [2, 3]})
    {'params/w': 1.0, 'steps/0': 2, 'steps/1': 3}
    """
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state, is_leaf=_is_nnx)[0]:
        name = "/".join(map(_part, path))
        inner = named_leaves(_pure(leaf)) if _is_nnx(leaf) else {"": leaf}
        for rest, value in inner.items():
            full = "/".join(filter(None, (name, rest))) or "state"
            if full in found:
                raise SettingsError(f"the state has two leaves with the name {full!r}; rename one of them")
            if not (isinstance(value, (bool, int, float, complex, np.generic, np.ndarray, jax.Array))):
                raise SettingsError(
                    f"{full!r} of the state is of the type {type(value).__name__}; give arrays and numbers only"
                )
            found[full] = value
    return found


def with_leaves(state: Any, values: Mapping[str, Any]) -> Any:
    """Return a state with other values for some of its leaves; objects of Flax NNX are changed in place.

    Args:
        state: The state.
        values: Name to new leaf; the others stay as they are.
    """

    def replaced(path: Any, leaf: Any) -> Any:
        name = "/".join(map(_part, path))
        if not _is_nnx(leaf):
            return values.get(name or "state", leaf)
        prefix = f"{name}/" if name else ""
        inner = {each.removeprefix(prefix): value for each, value in values.items() if each.startswith(prefix)}
        _replace(leaf, with_leaves(_pure(leaf), inner))
        return leaf

    return jax.tree_util.tree_map_with_path(replaced, state, is_leaf=_is_nnx)


def plain(state: Any) -> Any:
    """Return a state with nested dictionaries in the place of objects of Flax NNX."""
    return jax.tree_util.tree_map(lambda leaf: _pure(leaf) if _is_nnx(leaf) else leaf, state, is_leaf=_is_nnx)


def on_host(leaf: Any) -> Any:
    """Return a leaf as a NumPy array, which may share the memory of an array on the CPU; a random key as its words."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def kind_of(leaf: Any) -> str:
    """Return the dtype of a leaf as a file names it."""
    return f"{KEY}{jax.random.key_impl(leaf)}" if is_key(leaf) else str(np.asarray(leaf).dtype)


def dtype_of(kind: str) -> np.dtype[Any]:
    """Return the dtype of the array that stands for a leaf of this kind on the host."""
    return np.dtype(np.uint32 if kind.startswith(KEY) else jnp.dtype(kind))


def like(leaf: Any, array: np.ndarray[Any, Any]) -> Any:
    """Return a copy of an array as a leaf of the kind of another: its type, its dtype, and its devices."""
    if is_key(leaf):
        words = jnp.asarray(array.copy())
        return jax.device_put(jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf)), leaf.sharding)
    if isinstance(leaf, jax.Array):
        return jax.device_put(array.copy(), leaf.sharding)
    if isinstance(leaf, np.ndarray):
        return array.copy()
    return type(leaf)(array[()])


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Return the shape of a leaf on the host."""
    return tuple(jax.random.key_data(leaf).shape) if is_key(leaf) else tuple(np.shape(leaf))


def check_alike(leaves: Mapping[str, Any], arrays: Mapping[str, Any], kinds: Mapping[str, str], what: str) -> None:
    """Raise an error unless arrays have the names, shapes and types of the leaves.

    Raises:
        CheckpointError: They belong to another state; the message has the first difference.
    """
    for name in leaves:
        if name not in arrays:
            raise CheckpointError(f"{what} belongs to another state: it has no {name!r}")
    for name, array in arrays.items():
        if name not in leaves:
            raise CheckpointError(f"{what} belongs to another state: the present one has no {name!r}")
        found, expected = (tuple(array.shape), kinds[name]), (shape_of(leaves[name]), kind_of(leaves[name]))
        if found != expected:
            raise CheckpointError(
                f"{what} belongs to another state: {name!r} has the shape {found[0]} and the type {found[1]}, and "
                f"{expected[0]} and {expected[1]} are needed"
            )


def is_key(leaf: Any) -> bool:
    """Return whether a leaf is an array of random keys, as ``jax.random.key`` makes them."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _part(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _is_nnx(thing: Any) -> bool:
    """Return whether it is a mutable object of Flax NNX, such as a module, without importing Flax."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(thing, (nnx.Module, nnx.Optimizer, nnx.Rngs, nnx.Metric))


def _pure(thing: Any) -> Any:
    nnx = sys.modules["flax.nnx"]
    return nnx.to_pure_dict(nnx.state(thing))


def _replace(thing: Any, pure: Any) -> None:
    nnx = sys.modules["flax.nnx"]
    state = nnx.state(thing)
    nnx.replace_by_pure_dict(state, pure)
    nnx.update(thing, state)
