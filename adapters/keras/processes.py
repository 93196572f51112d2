"""The processes that train one Keras model together, on any backend."""

# Keras declares no types and has no public way to change how it distributes values over devices
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from trainbus.capabilities import Ranks


def ranks(timeout: float) -> Ranks | None:
    """Return the processes of torch's default group, or those that JAX has connected; None for a single process."""
    if keras.backend.backend() == "torch":
        from ..shared.torch_ranks import TorchRanks, rank_and_size  # noqa: PLC0415 - the other backends may lack torch

        return TorchRanks(timeout) if rank_and_size()[1] > 1 else None
    if _jax_is_distributed():
        from ..shared.jax_ranks import JaxRanks  # noqa: PLC0415

        return JaxRanks(timeout)
    return None


def has_global_metrics() -> bool:
    """Return whether ``fit`` computes its metrics over the samples of all processes: in a distribution of JAX's."""
    return _jax_is_distributed() and keras.distribution.distribution() is not None


def is_sharded(model: Any) -> bool:
    """Return whether this process does not have all of the weights."""
    return _jax_is_distributed() and not all(
        each.value.is_fully_addressable or each.value.is_fully_replicated for each in model.weights
    )


@contextmanager
def local_assign() -> Generator[None]:
    """Let this process alone assign values to variables.

    Otherwise Keras first makes JAX compare the values of all processes, which waits for all of them.
    """
    if not _jax_is_distributed():
        yield
        return
    from keras.src.backend.jax import distribution_lib  # noqa: PLC0415

    distribute = distribution_lib.distribute_tensor
    distribution_lib.distribute_tensor = _distribute_locally
    try:
        yield
    finally:
        distribution_lib.distribute_tensor = distribute


def _distribute_locally(value: Any, layout: Any) -> Any:
    """Distribute a value; every process creates its own part."""
    import jax  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    sharding = getattr(layout, "backend_layout", layout)
    if isinstance(value, jax.Array) and value.sharding.is_equivalent_to(sharding, value.ndim):
        return value
    array = np.asarray(value)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _jax_is_distributed() -> bool:
    if keras.backend.backend() != "jax":
        return False
    import jax  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    return bool(jax.process_count() > 1)
