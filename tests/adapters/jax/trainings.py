"""Trainings by JAX for tests; as a script, it kills and resumes one at the hooks that its arguments name.

JAX's threads do not survive a fork, so that ``check_binding`` runs in a process of its own.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from trainbus import Run
from trainbus.adapters.jax import JaxSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import check_binding

OPTIMIZER = optax.inject_hyperparams(optax.adam)(learning_rate=0.1)
X = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")
Y = X.sum(1, keepdims=True)


def new_state(seed: int = 0) -> dict[str, Any]:
    """Return the state of a small network with dropout."""
    first, second = jax.random.split(jax.random.key(seed))
    params = {
        "hidden": {"kernel": jax.random.normal(first, (2, 4)), "bias": jnp.zeros(4)},
        "out": {"kernel": jax.random.normal(second, (4, 1)), "bias": jnp.zeros(1)},
    }
    return {"params": params, "opt_state": OPTIMIZER.init(params), "key": jax.random.key(seed + 1)}


def loss_of(params: Any, x: Any, y: Any, key: Any) -> Any:
    hidden = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.75, hidden.shape) / 0.75
    return jnp.mean((hidden @ params["out"]["kernel"] + params["out"]["bias"] - y) ** 2)


@jax.jit
def step(state: dict[str, Any], x: Any, y: Any) -> tuple[dict[str, Any], Any]:
    key, used = jax.random.split(state["key"])
    loss, gradients = jax.value_and_grad(loss_of)(state["params"], x, y, used)
    updates, opt_state = OPTIMIZER.update(gradients, state["opt_state"], state["params"])
    return {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state, "key": key}, loss


donated_step = jax.jit(step.__wrapped__, donate_argnums=0)


def rules(*more: object, save_freq: Any = "epoch", background: bool | None = None, **stopping: Any) -> list[Any]:
    return [
        EarlyStopping(**{"patience": 1, "min_delta": 0.05, "restore_best_weights": True, **stopping}),
        ReduceLROnPlateau(monitor="loss", mode="min", patience=0, min_delta=9.0, factor=0.5),
        ModelCheckpoint("best.npz", save_best_only=True, background=background),
        ModelCheckpoint("last-{step}.npz", save_freq=save_freq, keep_last=2, background=background),
        *more,
    ]


def train(callbacks: Any, *, epochs: int = 6, donate: bool = False, **options: Any) -> Run:
    """Train in a loop of one's own."""
    subject = JaxSubject(new_state())
    with Run(subject, callbacks, **{"verbose": 0, **options}) as run:
        for epoch in run.epochs(epochs):
            order = np.random.permutation(12).reshape(3, 4)  # noqa: NPY002
            for rows in run.batches(order):
                subject.state, loss = (donated_step if donate else step)(subject.state, X[rows], Y[rows])
                run.log(loss=loss)
            run.log(val_loss=loss_of(subject.state["params"], X, Y, None) / 100 + abs(epoch - 2))
    return run


def killed_and_resumed(save_freq: Any) -> Any:
    def training(plugin: object, resume: bool) -> Run:
        np.random.seed(1)  # noqa: NPY002
        return train(rules(plugin, save_freq=save_freq, background=False), resume="auto" if resume else None)

    return training


if __name__ == "__main__":
    check_binding(killed_and_resumed(int(sys.argv[1]) if sys.argv[1].isdigit() else sys.argv[1]), at=sys.argv[2:])
