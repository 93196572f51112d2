"""The small subject keeps the contract."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reliability.crafted import outcome_of
from trainbus.testing import LineSubject, check_subject


def train(subject: LineSubject) -> None:
    subject.train(np.array([0.1, 0.7]), np.array([1.0, 3.0]))


def test_the_small_subject_keeps_the_contract() -> None:
    """LineSubject has every capability and keeps each."""
    check_subject(LineSubject, train)


def declared(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(8)


def archive(compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in entries.items():
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


CRAFTED: dict[str, Callable[[], bytes]] = {
    "a shape of 10**12": lambda: archive(slope=declared((10**12,)), offset=declared(())),
    "a shape of 10**12 of no bytes": lambda: archive(slope=declared((10**12,), "|V0"), offset=declared((3,))),
    "a bomb": lambda: archive(zipfile.ZIP_DEFLATED, slope=declared((), "<f8"), offset=bytes(50_000_000)),
    "an array alone": lambda: declared((10**12,)),
    "a rate of many numbers": lambda: archive(slope=declared(()), offset=declared(()), learning_rate=declared((0,))),
    "text": lambda: archive(slope=b"x", offset=b"y"),
    "no offset": lambda: archive(slope=declared(())),
    "objects": lambda: archive(slope=declared((1,), "|O"), offset=declared(())),
    "nothing": lambda: b"",
}


def load() -> None:
    LineSubject().load(Path("a.npz"))


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_file_is_refused(crafted: str) -> None:
    """With little memory, and with the reason in one line."""
    Path("a.npz").write_bytes(CRAFTED[crafted]())

    found = outcome_of(load)
    assert found.startswith("'a.npz'"), found


@given(start=st.integers(0, 600), part=st.binary(max_size=40))
def test_any_bytes_are_a_line_or_are_refused(start: int, part: bytes) -> None:
    honest = archive(slope=declared((1,)), offset=declared((1,)), learning_rate=declared(()))
    Path("a.npz").write_bytes(honest[:start] + part + honest[start + len(part) :])

    found = outcome_of(load)
    assert found == "a value" or found.startswith("'"), found
