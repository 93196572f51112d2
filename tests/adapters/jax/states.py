"""States of JAX for tests, and objects of Flax NNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trainbus.adapters.jax import JaxSubject
from trainbus.adapters.jax.leaves import named_leaves

from .trainings import X, Y, new_state, step


def trained(subject: JaxSubject) -> list[float]:
    losses = []
    for rows in np.arange(12).reshape(3, 4):
        subject.state, loss = step(subject.state, X[rows], Y[rows])
        losses.append(float(loss))
    return losses


def same(one: Any, other: Any) -> bool:
    ours, theirs = named_leaves(one), named_leaves(other)
    return ours.keys() == theirs.keys() and all(
        type(leaf) is type(theirs[name])
        and np.array_equal(*(np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in (leaf, theirs[name])))
        for name, leaf in ours.items()
    )


def is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def zero(leaf: Any) -> Any:
    if is_key(leaf):
        return leaf
    return (
        np.zeros_like(leaf) if isinstance(leaf, np.ndarray) else type(leaf)(leaf * 0) if np.isscalar(leaf) else leaf * 0
    )


def nnx_subject() -> JaxSubject:
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            rngs = nnx.Rngs(0, dropout=1)
            self.first, self.norm = nnx.Linear(2, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
            self.dropout, self.rest = nnx.Dropout(0.25, rngs=rngs), nnx.List([nnx.Linear(4, 1, rngs=rngs)])

        def __call__(self, x: Any) -> Any:
            return self.rest[0](self.dropout(self.norm(self.first(x))))

    model = Net()
    optimizer = nnx.Optimizer(model, optax.inject_hyperparams(optax.adam)(learning_rate=0.1), wrt=nnx.Param)
    return JaxSubject(model, optimizer)


def nnx_training() -> Callable[[JaxSubject], list[float]]:
    nnx = pytest.importorskip("flax.nnx")

    @nnx.jit
    def nnx_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda model: jnp.mean((model(x) - y) ** 2))(model)
        optimizer.update(model, gradients)
        return loss

    def train_nnx(subject: JaxSubject) -> list[float]:
        parts = subject.state["model"], subject.state["optimizer"]
        return [float(nnx_step(*parts, X[rows], Y[rows])) for rows in np.arange(12).reshape(3, 4)]

    return train_nnx


STATES: dict[str, Callable[[], Any]] = {
    "a dict": lambda: {"params": {"w": jnp.arange(3.0)}, "step": 3},
    "a single array": lambda: jnp.arange(3.0),
    "bfloat16": lambda: {"params": jnp.arange(3, dtype=jnp.bfloat16)},
    "float8": lambda: {"params": {"w": jnp.arange(3).astype(jnp.float8_e4m3fn)}},
    "keys": lambda: {
        "params": {"w": jnp.ones(2)},
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4)),
    },
    "another generator": lambda: {"params": jnp.ones(2), "key": jax.random.key(3, impl="rbg")},
    "old keys": lambda: {"params": {"w": jnp.ones(2)}, "key": jax.random.PRNGKey(7)},
    "numpy": lambda: {"model": {"w": np.arange(6.0).reshape(2, 3).T, "flag": np.array(True)}, "n": 1.5, "b": True},
    "lists and tuples": lambda: [jnp.ones(1), (jnp.zeros((2, 2)), None), {}, 1.5],
    "empty arrays": lambda: {"params": {"w": jnp.ones((0, 3)), "scalar": jnp.float32(2)}},
    "names of files": lambda: {"params": {"file": jnp.ones(1), "trainbus": jnp.ones(2), "ä b": jnp.zeros(1)}},
    "integers": lambda: {"params": {"w": jnp.arange(3, dtype=jnp.int8), "u": jnp.arange(3, dtype=jnp.uint32)}},
    "optax": new_state,
}
