"""Tests of the link to the newest checkpoint."""

import os
from pathlib import Path

import pytest

from trainbus import CheckpointError
from trainbus.checkpoints.newest_link import followed, is_mere_link, leads_to, link_newest, place_of

from .committing import put


@pytest.mark.parametrize("target", ["m-1.pt", "5/m.pt", "5/6/m.pt"])
def test_a_link_is_relative_and_replaced(target: str) -> None:
    """It leads to the newest file, also after the directory was moved."""
    link = Path("run/last.pt")
    for name in ("m-0.pt", target):
        put(Path("run") / name, name, 1)
        link_newest(link, Path("run") / name)
        assert leads_to(link, Path("run") / name)
        assert followed(link) == Path("run") / name
        assert is_mere_link(link)
    Path("run").rename("moved")
    assert Path("moved/last.pt").read_text() == target
    assert not [name for name in os.listdir("moved") if "staged" in name]


def test_it_replaces_checkpoints_and_links_only() -> None:
    """A checkpoint at its path is removed with its manifest; another file stays."""
    put(Path("m.pt"), "m", 1)
    put(Path("last.pt"), "older", 0)
    link_newest(Path("last.pt"), Path("m.pt"))
    assert sorted(os.listdir()) == ["last.pt", "m.pt", "trainbus.m.pt.json"]
    Path("mine").write_text("mine")
    with pytest.raises(CheckpointError, match="'mine' is a file, but not a checkpoint"):
        link_newest(Path("mine"), Path("m.pt"))
    assert Path("mine").read_text() == "mine"


def test_a_dangling_link_is_replaced_and_a_file_is_no_link() -> None:
    """What does not exist is followed nowhere else."""
    Path("last.pt").symlink_to("gone.pt")
    put(Path("m.pt"), "m", 1)
    link_newest(Path("last.pt"), Path("m.pt"))
    assert leads_to(Path("last.pt"), Path("m.pt"))
    assert followed(Path("m.pt")) == Path("m.pt")
    assert not leads_to(Path("m.pt"), Path("m.pt"))
    assert place_of("../last.pt", Path("/a/b/m.pt")) == Path("/a/last.pt")
