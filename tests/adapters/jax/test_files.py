"""Arrays by name in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax")

import jax.numpy as jnp

from trainbus import UnreadableCheckpoint
from trainbus.adapters.jax.files import Content, read, write
from trainbus.storage.atomic_file import digest_of


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".ckpt"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e5m2", "int8", "bool"])
def test_what_was_written_is_read(suffix: str, dtype: str) -> None:
    path, array = Path(f"a{suffix}"), np.asarray(jnp.arange(6).reshape(2, 3).astype(dtype))
    content = Content({"x/y": array, "trainbus/z": array[0]}, {"x/y": dtype, "trainbus/z": dtype}, weights_only=False)
    assert write(content, path) == digest_of(path)
    found = read(path)
    assert found.kinds == content.kinds
    assert not found.weights_only
    for name, each in content.arrays.items():
        assert found.arrays[name].dtype == each.dtype
        assert found.arrays[name].tobytes() == each.tobytes()


def test_an_archive_of_numpy_has_weights() -> None:
    np.savez("own.npz", w=np.ones(2))
    assert read(Path("own.npz")).weights_only


def test_objects_are_not_unpickled() -> None:
    np.savez("own.npz", w=np.array([{}], dtype=object))
    with pytest.raises(UnreadableCheckpoint):
        read(Path("own.npz"))
