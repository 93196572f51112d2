"""URLs have the same parts as paths, and neither is mistaken for the other."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.plugins import Journal, ModelCheckpoint, TensorBoard
from trainbus.storage.atomic_file import suffix_of
from trainbus.storage.paths import RemotePath, location, relative_to, resolve_relative
from trainbus.testing import LineSubject

NAMES = st.text(st.sampled_from("ab.{}[]é -"), min_size=1, max_size=12).filter(lambda name: name.strip("."))
KEYS = st.lists(NAMES, min_size=2, max_size=4).map("/".join)


@given(KEYS, NAMES)
def test_a_url_has_the_parts_of_a_path(key: str, name: str) -> None:
    """Name, suffix, parent and other names are those that pathlib finds in what follows the protocol."""
    url, path = location(f"s3://{key}"), PurePosixPath(key)

    assert isinstance(url, RemotePath)
    assert str(url) == f"s3://{key}"
    assert (url.name, url.suffix, suffix_of(url)) == (path.name, path.suffix, suffix_of(Path(key)))
    assert str(url.parent) == f"s3://{path.parent}"
    assert str(url.with_name(name)) == f"s3://{path.with_name(name)}"
    assert str(url / name) == f"s3://{path / name}"


@given(KEYS, KEYS, st.sampled_from(["s3", "gs"]))
def test_what_is_relative_leads_there_again(key: str, other: str, protocol: str) -> None:
    """From any directory, of the same store, of another one or of this machine, the relative path leads back."""
    path = location(f"s3://{key}")
    for directory in (location(f"{protocol}://{other}"), Path("runs")):
        assert resolve_relative(directory, relative_to(path, directory)) == path
    local = Path("/runs", key)
    assert resolve_relative(location(f"s3://{other}"), relative_to(local, location(f"s3://{other}"))) == local


def test_moved_together_they_lead_to_each_other() -> None:
    """Within one store a relative path does not name the directory that contains both."""
    assert relative_to(location("s3://bucket/a/slot"), location("s3://bucket/a/deep")) == "../slot"
    assert resolve_relative(location("s3://other/b/deep"), "../slot") == location("s3://other/b/slot")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("runs/best.pt", "runs/best.pt"),
        ("file:///tmp/best.pt", "/tmp/best.pt"),
        ("C:\\runs", "C:\\runs"),
        ("a:b", "a:b"),
    ],
)
def test_what_is_no_url_of_a_store_is_a_path(text: str, meant: str) -> None:
    """Paths stay paths, whatever they look like, and this machine's own URLs become paths."""
    assert location(text) == Path(meant)


@pytest.mark.parametrize("name", ["s3", "gs", "memory"])
def test_a_url_that_pathlib_has_changed_is_refused_with_the_right_one(name: str) -> None:
    """A directory named "s3:" on the local disk is never what somebody meant."""
    with pytest.raises(SettingsError, match=f"give the string '{name}://bucket/best.pt'"):
        ModelCheckpoint(Path(f"{name}://bucket/best.pt"))
    with pytest.raises(SettingsError, match="chain of URLs"):
        ModelCheckpoint(f"simplecache::{name}://bucket/best.pt")
    assert not os.listdir()


@pytest.mark.parametrize("callback", [TensorBoard, Journal])
def test_what_grows_is_written_on_this_machine(callback: Any) -> None:
    """Charts and journals grow during a run, which stores do not support: a URL is refused."""
    with pytest.raises(SettingsError, match=r"s3://bucket/logs.*give a local"):
        callback("s3://bucket/logs")
    with Run(LineSubject(), ModelCheckpoint("memory://tests/grows/best")) as run:
        for _ in run.epochs(1):
            run.log(loss=1)
    assert not os.listdir()


PARTS = st.sampled_from(["a", "b", "..", ".", "c.pt"])


@given(st.lists(PARTS, max_size=5), st.lists(PARTS, max_size=4), st.booleans())
def test_a_relative_path_is_the_one_of_the_standard_library(path: list[str], directory: list[str], above: bool) -> None:
    """Also beside the directory, where it is the name, and with ``..`` in either."""
    start = Path("/run") if above else Path("run")
    place, other = start.joinpath(*directory, *path), start.joinpath(*directory)

    assert relative_to(place, other) == os.path.relpath(place, other)


def test_another_home_directory_changes_a_known_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only texts that do not name the home directory are parsed once."""
    found: list[Path] = []
    for home in ("/first", "/second"):
        monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("USERPROFILE", home)
        found.append(Path(str(location("~/best.pt"))))

    assert found == [Path("/first/best.pt"), Path("/second/best.pt")]
