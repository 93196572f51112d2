"""A file of HDF5 is read within the memory that its size explains, also its values of variable length."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tests.reliability.crafted import outcome_of
from trainbus.adapters.keras.files.hdf5_contents import read_all
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.limits import unpacked_limit

TEXT, LONG = h5py.string_dtype(), 1_000_000
FORKS = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX refuses forks; what is tested does not depend on the backend"
)


def pointing(path: Path, place: int, count: int, size: int = 16) -> None:
    """Let the pointers after the first one lead to the bytes of the first."""
    raw = bytearray(path.read_bytes())
    raw[place : place + size * count] = raw[place : place + size] * count
    path.write_bytes(raw)


def repeated_texts(path: Path, shape: tuple[int, ...] = (3000,), kind: Any = TEXT, value: Any = b"A" * LONG) -> None:
    """Write a dataset whose texts are all the same bytes."""
    with h5py.File(path, "a") as file:
        found = file.create_dataset("zz", shape, dtype=kind)
        found[(0,) * len(shape)] = value
        place, count = found.id.get_offset(), found.size
    pointing(path, place, count)


def repeated_attribute(path: Path) -> None:
    """Write an attribute whose texts are all the same bytes."""
    with h5py.File(path, "a") as file:
        file.create_group("zz").attrs.create("names", ["A" * LONG, *["B"] * 1000], dtype=TEXT)
    raw = path.read_bytes()
    first = (LONG).to_bytes(4, "little")
    place = next(
        place
        for place in range(len(raw) - 16)
        if raw[place : place + 4] == first and raw[place + 16 : place + 20] == (1).to_bytes(4, "little")
    )
    pointing(path, place, 1001)


def chunked(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("zz", (1000,), dtype=TEXT, chunks=(1000,), compression="gzip")


def references(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("zz", (2,), dtype=h5py.ref_dtype)


def hidden(path: Path) -> None:
    """Write texts inside of a compound type."""
    with h5py.File(path, "a") as file:
        file.create_dataset("zz", (2,), dtype=[("a", TEXT), ("b", "f4")])


def lists_of_lists(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("zz", (2,), dtype=h5py.vlen_dtype(TEXT))


CRAFTED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a text that is repeated": ("would unpack", repeated_texts),
    "a text that is repeated in a matrix": ("would unpack", lambda path: repeated_texts(path, (60, 50))),
    "a text that is repeated in one row": ("would unpack", lambda path: repeated_texts(path, (1, 3000))),
    "numbers that are repeated": (
        "would unpack",
        lambda path: repeated_texts(path, (3000,), h5py.vlen_dtype("f8"), np.zeros(LONG // 8)),
    ),
    "an attribute that is repeated": ("would unpack", repeated_attribute),
    "texts in chunks": ("in chunks", chunked),
    "references": ("which Keras does not write", references),
    "texts inside of a compound": ("which Keras does not write", hidden),
    "lists of texts": ("which Keras does not write", lists_of_lists),
}


@FORKS
@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_file_is_refused(crafted: str, tmp_path: Path) -> None:
    """With little memory, whatever else the file of the model holds."""
    reason, write = CRAFTED[crafted]
    subject = KerasSubject(keras.Sequential([keras.Input((4,)), layers.Dense(1)]))
    path = tmp_path / "a.weights.h5"
    subject.save(path, weights_only=True)
    write(path)

    found = outcome_of(lambda: subject.load(path))
    assert found.startswith(f"'{path}' is not a readable Keras file"), found
    assert reason in found


def test_honest_texts_are_read() -> None:
    """Texts and lists of numbers, as attributes and as values, empty ones, and many attributes."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("texts", data=["a", "", "b" * 1000], dtype=TEXT)
        file.create_dataset("matrix", data=[["a", "b"], ["c", "d"]], dtype=TEXT)
        file.create_dataset("one", data="a", dtype=TEXT)
        file.create_dataset("none", (0,), dtype=TEXT)
        file.create_dataset("lists", (2,), dtype=h5py.vlen_dtype("f4"))[0] = [1.0, 2.0]
        file.create_dataset("fixed", data=np.array([b"ab", b"c"]))
        file.create_dataset("nothing", data=h5py.Empty("f4"))
        file.attrs["config"] = "{}" * 1000
        file.attrs["names"] = [b"a", b"b"]
        file["texts"].attrs["list"] = ["x", "y"]
    size = len(content.getvalue())
    with h5py.File(content, "r") as file:
        read_all(file, size, unpacked_limit(size))


def test_the_limit_counts_all_values_together() -> None:
    """Numbers and texts."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["numbers"] = np.zeros(100, "u1")
        file.create_dataset("texts", data=["a" * 100], dtype=TEXT)
    size = len(content.getvalue())
    with h5py.File(content, "r") as file:
        for limit, enough in [(10**6, True), (150 + 8, False), (90, False)]:
            if enough:
                read_all(file, size, limit)
            else:
                with pytest.raises(ValueError, match="would unpack"):
                    read_all(file, size, limit)
