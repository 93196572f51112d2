"""Pickles are read as data: the values are those of the standard library, and nothing is imported or called."""

import io
import pickle
import sys
from collections import OrderedDict
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.torch.files.pickle_data import Items, Made, Name, Persistent, PickleReader

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 600), 1 << 600), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
        inner.map(lambda value: [value, value]),
    ),
    max_leaves=20,
)


def read(data: bytes) -> Any:
    return PickleReader(io.BytesIO(data), len(data)).read()


def plain(found: Any) -> Any:
    if isinstance(found, Items):
        return {key: plain(value) for key, value in found}
    return type(found)(map(plain, found)) if isinstance(found, (list, tuple)) else found


@given(value=VALUES, protocol=st.sampled_from([2, 3, 4, 5]))
def test_plain_values_are_read(value: Any, protocol: int) -> None:
    assert plain(read(pickle.dumps(value, protocol))) == value


@given(values=st.lists(VALUES, min_size=1, max_size=3))
def test_one_is_read_after_another(values: list[Any]) -> None:
    data = b"".join(pickle.dumps(each, 2) for each in values)
    reader = PickleReader(io.BytesIO(data), len(data))

    assert [plain(reader.read()) for _ in values] == values


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_is_called_is_named(protocol: int) -> None:
    made = read(pickle.dumps([PurePosixPath("a/b"), OrderedDict(x=1), PurePosixPath], protocol))

    path, ordered, kind = made
    assert isinstance(path, Made)
    assert path.arguments == ("a", "b")
    assert (str(ordered.maker), list(ordered.items)) == ("collections.OrderedDict", [("x", 1)])
    assert kind == Name("pathlib", "PurePosixPath")


def test_nothing_is_imported() -> None:
    assert read(b"\x80\x02cthis\ns\n.") == Name("this", "s")
    assert read(b"\x80\x02K\x05Q.") == Persistent(5)
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"\x80",
            b"\x80\x02",
            b".",
            b"\x80\x02NN.",
            b"\x80\x02Nb.",
            b"\x80\x02(.",
            b"\x80\x02t.",
            b"\x80\x02h\x05.",
        ),
        *(
            b"\x80\x02]NaN\x85s.",
            b"\x80\x02}(Nu.",
            b"\x80\x02Na.",
            b"\x80\x02(Na.",
            b"\x80\x02NNR.",
            b"\x80\x02NN\x93.",
        ),
        *(
            b"\x80\x02cos\nmkdir\n}b.",
            b"\x80\x02cos",
            b"\x80\x02X\xff\xff\xff\xffab.",
            b"\x80\x02X\x01\x00\x00\x00\xff.",
        ),
        *(
            b"\x80\x02\x8d" + b"\xff" * 8 + b".",
            b"\x80\x02c" + b"a" * 600 + b"\nb\n.",
            b"\x80\x02\x8b\xff\xff\xff\x7f.",
            b"garbage",
        ),
        *(b"\x80\x02ios\nmkdir\n.", b"I5\n.", b"\x80\x02(N0.", b"\x80\x02\x94."),
    ],
)
def test_what_is_damaged_is_refused(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        read(data)


@given(data=st.binary(max_size=60), honest=VALUES, place=st.integers(0, 200))
def test_any_bytes_are_a_value_or_refused(data: bytes, honest: Any, place: int) -> None:
    whole = pickle.dumps(honest, 2)
    for each in (data, b"\x80\x02" + data, whole[:place] + data + whole[place + len(data) :]):
        try:
            read(each)
        except pickle.UnpicklingError:
            continue
