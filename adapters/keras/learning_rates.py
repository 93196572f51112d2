"""The learning rates of a compiled Keras model by name."""

# Keras declares no types
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from trainbus import SettingsError
from trainbus.metrics.names import unique


def optimizers_of(model: Any) -> list[Any]:
    """Return the optimizers of a model, those inside a ``LossScaleOptimizer`` or a ``MultiOptimizer``."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if optimizer is None:
        return []
    return list(optimizer.optimizers) if hasattr(optimizer, "optimizers") else [optimizer]


def why_not_settable(model: Any) -> str | None:
    """Return why the model's learning rates cannot be set; None if they can."""
    optimizers = optimizers_of(model)
    for optimizer in optimizers:
        if not isinstance(optimizer.learning_rate, keras.Variable):
            schedule = getattr(optimizer, "_learning_rate", optimizer.learning_rate)
            return (
                f"the learning rate of the optimizer {optimizer.name!r} is given by {type(schedule).__name__!r} and "
                "cannot be set; compile the model with a number as learning_rate"
            )
    return None if optimizers else "the model is not compiled with an optimizer"


def rates_of(model: Any) -> dict[str, float]:
    """Return a single rate as "learning_rate", those of a ``MultiOptimizer`` as "learning_rate/<optimizer>"."""
    return {name: as_number(optimizer.learning_rate) for name, optimizer in _named(model)}


def rounded_rates(model: Any, rates: Mapping[str, float]) -> dict[str, float]:
    """Return rates in the data types of the optimizers' variables."""
    kinds = {name: getattr(optimizer.learning_rate, "dtype", "float32") for name, optimizer in _named(model)}
    rounded: dict[str, Any] = {
        name: keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(rate, kinds[name])) for name, rate in rates.items()
    }
    return {name: float(rate) for name, rate in rounded.items()}


def options_of(model: Any) -> dict[str, Any]:
    """Return the options of the optimizers except learning rates, such as "momentum", named as the rates are."""
    options: dict[str, Any] = {}
    for name, optimizer in _named(model):
        where = name.removeprefix("learning_rate")
        try:
            config = optimizer.get_config()
        except Exception:  # noqa: BLE001 - an optimizer or a schedule of the user's own may have no configuration
            continue
        options |= {f"{key}{where}": value for key, value in config.items() if key not in ("name", "learning_rate")}
    return options


def set_rates(model: Any, rates: Mapping[str, float]) -> None:
    """Assign the optimizers' variables, and read them back.

    Raises:
        SettingsError: A rate cannot be set, or the variable's data type cannot represent the change.
    """
    if why := why_not_settable(model):
        raise SettingsError(f"the learning rate was not changed: {why}")
    for name, optimizer in _named(model):
        if name not in rates:
            continue
        old = as_number(optimizer.learning_rate)
        optimizer.learning_rate.assign(rates[name])
        new = as_number(optimizer.learning_rate)
        if abs(new - rates[name]) > abs(new - old):
            raise SettingsError(f"{name} was set to {rates[name]!r} but is {new!r}; before, it was {old!r}")


def as_number(value: Any) -> float:
    """Return the shortest decimal that the value's data type rounds to it: 0.001, not 0.0010000000474974513.

    So a rate that was set to a floor equals the floor, without a rounding error.
    """
    array: Any = keras.ops.convert_to_numpy(value)
    return float(str(array[()]))


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    optimizers = optimizers_of(model)
    taken = set[str]()
    for optimizer in optimizers:
        name = f"learning_rate/{unique(optimizer.name, taken)}"
        yield name if len(optimizers) > 1 else "learning_rate", optimizer
