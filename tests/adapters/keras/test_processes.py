"""The processes that train a Keras model together; tests/distributed trains with several."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from trainbus.adapters.keras.processes import has_global_metrics, is_sharded, local_assign, ranks

from .fits import line

BACKEND = keras.backend.backend()


def test_one_process_trains_alone() -> None:
    """On any backend it has no ranks, all weights, and metrics of its own samples."""
    assert ranks(60) is None
    assert not is_sharded(line())
    assert not has_global_metrics()


@pytest.fixture
def group_of_one() -> Iterator[None]:
    """A process group of torch's with one member."""
    import torch.distributed as dist  # noqa: PLC0415

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.skipif(BACKEND != "torch", reason="a process group of torch's")
@pytest.mark.usefixtures("group_of_one")
def test_a_group_of_one_process_is_a_process_that_trains_alone() -> None:
    """A script that always makes a process group pays for no exchange."""
    assert ranks(60) is None
    assert not has_global_metrics()


def test_values_are_assigned_as_keras_does() -> None:
    """Within ``local_assign`` a variable takes the value; an error leaves it through the same way."""
    variable = keras.Variable(np.zeros(3), dtype="float32")
    with local_assign():
        variable.assign(np.arange(3.0))
    with pytest.raises(ZeroDivisionError), local_assign():
        raise ZeroDivisionError

    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), np.arange(3.0))


@pytest.mark.skipif(BACKEND != "jax", reason="JAX distributes values over devices")
def test_a_value_is_distributed_by_this_process_alone() -> None:
    """It has the wanted sharding and the same numbers; a value that has it already is left as it is."""
    import jax  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    from trainbus.adapters.keras.processes import _distribute_locally  # noqa: PLC0415

    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("rows",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    values = np.arange(4.0 * len(jax.devices())).reshape(-1, 2)
    placed = _distribute_locally(values, sharding)

    assert placed.sharding.is_equivalent_to(sharding, 2)
    np.testing.assert_array_equal(placed, values)
    assert _distribute_locally(placed, sharding) is placed
