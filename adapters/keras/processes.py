"""The processes that train one Keras model together, whichever backend has connected them."""

# Keras declares no types, and tells nobody but its own classes how it spreads values over devices
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from trainbus.capabilities import Ranks

__all__ = ["alone", "is_sharded", "ranks", "same_on_all"]


def ranks(timeout: float) -> Ranks | None:
    """The processes of torch's default group, or those that JAX has connected; None where there is no other."""
    if keras.backend.backend() == "torch":
        from ..torch.sharding import rank_and_size  # noqa: PLC0415 - the other backends do without

        if rank_and_size()[1] > 1:
            from ..shared.torch_ranks import TorchRanks  # noqa: PLC0415 - not every build of torch has what it needs

            return TorchRanks(timeout)
    elif _jax_connects():
        from ..shared.jax_ranks import JaxRanks  # noqa: PLC0415

        return JaxRanks(timeout)
    return None


def same_on_all() -> bool:
    """Whether `fit` computes its metrics over the samples of all processes: under a distribution of JAX's."""
    return _jax_connects() and keras.distribution.distribution() is not None


def is_sharded(model: Any) -> bool:
    """Whether this process has not all of the weights."""
    return _jax_connects() and not all(
        each.value.is_fully_addressable or each.value.is_fully_replicated for each in model.weights
    )


@contextmanager
def alone() -> Generator[None]:
    """Inside, this process may give variables values while the others do not.

    Keras lets JAX compare the values of all processes first, and so waits for all of them.
    """
    if not _jax_connects():
        yield
        return
    from keras.src.backend.jax import distribution_lib  # noqa: PLC0415

    distribute = distribution_lib.distribute_tensor
    distribution_lib.distribute_tensor = _spread
    try:
        yield
    finally:
        distribution_lib.distribute_tensor = distribute


def _spread(value: Any, layout: Any) -> Any:
    """A value as a layout has it, of which every process makes its own part."""
    import jax  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    sharding = getattr(layout, "backend_layout", layout)
    if isinstance(value, jax.Array) and value.sharding.is_equivalent_to(sharding, value.ndim):
        return value
    array = np.asarray(value)
    return jax.make_array_from_callback(array.shape, sharding, lambda place: array[place])


def _jax_connects() -> bool:
    if keras.backend.backend() != "jax":
        return False
    import jax  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    return bool(jax.process_count() > 1)
