"""Train on the digits with JAX and optax."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from trainbus import Callback, Run
from trainbus.adapters.jax import JaxSubject

from .data import Digits


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    keys = jax.random.split(jax.random.key(0), 2)
    params = {
        "hidden": {"kernel": jax.random.normal(keys[0], (64, 64)) / 8, "bias": jnp.zeros(64)},
        "scores": {"kernel": jax.random.normal(keys[1], (64, 10)) / 8, "bias": jnp.zeros(10)},
    }
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.01)

    def scores_of(params: Any, images: Any) -> Any:
        hidden = jax.nn.relu(images @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        return hidden @ params["scores"]["kernel"] + params["scores"]["bias"]

    def loss_of(params: Any, images: Any, labels: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(scores_of(params, images), labels).mean()

    def step(state: Any, images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(state["params"], images, labels)
        updates, opt_state = optimizer.update(gradients, state["opt_state"], state["params"])
        return {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state}, loss

    def evaluate(params: Any) -> Any:
        accuracy = (scores_of(params, data.x_val).argmax(1) == data.y_val).mean()
        return loss_of(params, data.x_val, data.y_val), accuracy

    step, evaluate = jax.jit(step), jax.jit(evaluate)
    np.random.seed(0)  # noqa: NPY002 - a resume restores this generator
    subject = JaxSubject({"params": params, "opt_state": optimizer.init(params)})
    with Run(subject, callbacks, resume=resume) as run:
        for _ in run.epochs(epochs):
            order = np.random.permutation(len(data.x))  # noqa: NPY002
            for rows in run.batches([order[i : i + 32] for i in range(0, len(order), 32)]):
                subject.state, loss = step(subject.state, data.x[rows], data.y[rows])
                run.log(loss=loss, count=len(rows))
            with run.validation():
                loss, accuracy = evaluate(subject.state["params"])
                run.log(loss=loss, accuracy=accuracy)
    return run
