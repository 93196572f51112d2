"""What an archive declares is compared with its size before it is unpacked."""

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from trainbus.limits import EXPANSION_FLOOR, unpacked_limit
from trainbus.storage.archive import check_archive, check_arrays, check_unpacked


def packed(compression: int = zipfile.ZIP_STORED, **entries: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def array(shape: tuple[int, ...], kind: str = "<f4", data: bytes = b"", version: int = 1) -> bytes:
    file = io.BytesIO()
    write = np.lib.format.write_array_header_1_0 if version == 1 else np.lib.format.write_array_header_2_0
    write(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def test_the_sizes_are_those_declared() -> None:
    file = packed(a=b"1234", b=b"")

    assert check_archive(file) == {"a": 4, "b": 0}
    assert file.tell() == 0


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_refused(compression: int) -> None:
    """Whatever compresses it; the same bytes without compression are no bomb."""
    file = packed(compression, a=bytes(EXPANSION_FLOOR), b=b"x")

    if compression == zipfile.ZIP_STORED:
        assert sum(check_archive(file).values()) == EXPANSION_FLOOR + 1
    else:
        with pytest.raises(
            ValueError, match=r"would unpack to 16 MB, more than the 16 MB that .*; save it again without compression"
        ):
            check_archive(file)


def test_the_limit_grows_with_the_file() -> None:
    check_unpacked(unpacked_limit(10**9), unpacked_limit(10**9))
    with pytest.raises(ValueError, match="unpack"):
        check_unpacked(unpacked_limit(10**9) + 1, unpacked_limit(10**9))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((10**12,), "<f4"),
        ((3,), "<f8"),
        ((1,) * 65, "<f4"),
        ((2**40, 2**40), "<f4"),
        ((1,), "|S100000"),
        ((-4,), "<f4"),
    ],
)
def test_an_array_that_declares_more_than_it_holds_is_refused(shape: tuple[int, ...], kind: str, version: int) -> None:
    with pytest.raises(ValueError, match=r"declares an array"):
        check_arrays(packed(a=array(shape, kind, bytes(4), version)))


@pytest.mark.parametrize(
    "content",
    [
        lambda: packed(zipfile.ZIP_DEFLATED, a=bytes(EXPANSION_FLOOR + 1)).getvalue(),
        lambda: packed(a=array((9,))).getvalue(),
        lambda: packed(a=packed(a=array((9,))).getvalue()).getvalue(),
        lambda: b"PK\x03\x04" + bytes(20),
        lambda: b"\x93NUMPY\x09\x00" + bytes(20),
        lambda: b"\x93NUMPY\x01\x00\xff\xff{'descr'",
    ],
)
def test_archives_in_an_archive_are_checked(content: Callable[[], bytes]) -> None:
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        check_arrays(packed(a=content()))


def test_honest_arrays_pass() -> None:
    file = io.BytesIO()
    np.savez_compressed(
        file, zeros=np.zeros(1_000_000), text=np.array(["a", "bc"]), none=np.zeros((0, 3)), one=np.array(1)
    )
    check_arrays(file)

    with np.load(file) as arrays:
        assert arrays["zeros"].size == 1_000_000
    check_arrays(packed(a=file.getvalue(), b=b"text"))
