"""A model whose ``train_step`` uses an optimizer of its own, as that of a GAN does, on every backend of Keras."""

# each backend is imported where it is used; the others may be missing
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Any

import keras

from .fits import X


class OwnOptimizer(keras.Model):  # type: ignore[misc]
    """A straight line that its own optimizer trains, not the compiled one.

    Args:
        own: The optimizer that ``train_step`` uses; None for SGD.
        metric: The name under which the loss is logged.
    """

    def __init__(self, own: Any = None, metric: str = "loss") -> None:
        super().__init__()
        self.metric = metric
        self.layer = keras.layers.Dense(1)
        self.layer.build((None, X.shape[1]))
        self.own = own or keras.optimizers.SGD(0.1)
        self.own.build(self.layer.trainable_variables)
        # JAX keeps between steps only the values of variables that the model knows
        self.own_variables = list(self.own.variables) if keras.backend.backend() == "jax" else []

    def call(self, x: Any) -> Any:
        return self.layer(x)

    def train_step(self, *arguments: Any) -> Any:
        step = {"torch": _step_on_torch, "tensorflow": _step_on_tensorflow, "jax": _step_on_jax}
        return step[keras.backend.backend()](self, *arguments)


def _squared(outputs: Any, y: Any) -> Any:
    return keras.ops.mean(keras.ops.square(outputs - y))


def _step_on_torch(model: OwnOptimizer, data: Any) -> dict[str, Any]:
    x, y = data
    model.zero_grad()
    loss = _squared(model(x), y)
    loss.backward()
    variables = model.trainable_variables
    model.own.apply([each.value.grad for each in variables], variables)
    return {model.metric: loss.detach()}


def _step_on_tensorflow(model: OwnOptimizer, data: Any) -> dict[str, Any]:
    import tensorflow as tf

    x, y = data
    with tf.GradientTape() as tape:
        loss = _squared(model(x), y)
    variables = model.trainable_variables
    model.own.apply(tape.gradient(loss, variables), variables)
    return {model.metric: loss}


def _step_on_jax(model: OwnOptimizer, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    import jax

    trainable, others, compiled, metrics = state
    x, y = data

    def loss_of(values: Any) -> Any:
        outputs, _ = model.stateless_call(values, others, x)
        return _squared(outputs, y)

    loss, gradients = jax.value_and_grad(loss_of)(trainable)
    places = {id(variable): place for place, variable in enumerate(model.non_trainable_variables)}
    own = [places[id(variable)] for variable in model.own.variables]
    trainable, values = model.own.stateless_apply([others[place] for place in own], gradients, trainable)
    new = dict(zip(own, values, strict=True))
    others = [new.get(place, value) for place, value in enumerate(others)]
    return {model.metric: loss}, (trainable, others, compiled, metrics)
