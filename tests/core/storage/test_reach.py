"""Tests of the directories in which a run may save."""

import glob
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.storage.reach import Reach

PARTS = st.sampled_from(["a", "1", "12", "*", "*[0-9]*", "a*", "e*[0-9]*", "[[]1]", "[1]"])


@given(
    st.lists(PARTS, max_size=3), st.lists(PARTS, max_size=3), st.lists(st.sampled_from(["a", "1", "12", "e1", "[1]"]))
)
def test_reaches_with_a_directory_in_common_meet(first: list[str], second: list[str], place: list[str]) -> None:
    """None is missed; the order does not matter."""
    reaches = [Reach.of(Path("/run", *parts)) for parts in (first, second)]
    meets = reaches[0].meets(reaches[1])

    assert meets == reaches[1].meets(reaches[0])
    if all(len(parts) == len(place) and all(map(fnmatchcase, place, parts)) for parts in (first, second)):
        assert meets


@pytest.mark.parametrize(
    ("first", "second"),
    [("*[0-9]*", "best"), ("*", "*/x"), ("m-*", "n-*"), ("a/*", "b/*"), ("*/x", "*/y"), ("1[[]", "1"), ("", "*")],
)
def test_reaches_without_one_do_not_meet(first: str, second: str) -> None:
    assert not Reach.of(Path("/run", first)).meets(Reach.of(Path("/run", second)))


def test_only_existing_directories_are_found(tmp_path: Path) -> None:
    for name in ("1/x", "2/y", "b/x", "3/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "1/x/lock").touch()
    reach = Reach.of(Path(glob.escape(str(tmp_path)), "*[0-9]*", "x"))

    assert sorted(reach.existing()) == [tmp_path / "1/x", tmp_path / "3/x"]
    assert list(reach.existing("lock")) == [tmp_path / "1/x"]
    assert reach.relative_to(tmp_path) == ("*[0-9]*", "x")
