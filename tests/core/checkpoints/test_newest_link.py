"""Tests of the link to the newest checkpoint."""

import os
from pathlib import Path

import pytest

from trainbus import CheckpointError
from trainbus.checkpoints import commit
from trainbus.checkpoints.beside.files import BesideWriter
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


def test_a_file_of_another_model_leads_to_the_save() -> None:
    """From the file itself, and from a link to it; a checkpoint of its own is none."""
    write = BesideWriter(lambda staged: staged.write_text("G"), ".pt", "G.pt")
    commit(Path("run/D.pt"), lambda staged: staged.write_text("D"), beside=[write], epoch=1, step=1)
    link_newest(Path("run/last.pt"), Path("run/G.pt"))
    put(Path("run/own.pt"), "own", 2)
    assert followed(Path("run/G.pt")) == followed(Path("run/last.pt")) == Path("run/D.pt")
    for same in ("run/own.pt", "run/D.pt", "run/gone.pt", "run"):
        assert followed(Path(same)) == Path(same)


@pytest.mark.parametrize("names", [("last-G.pt",), ("last-G.pt", "mine.pt")])
def test_links_replace_the_files_of_an_earlier_save_and_no_others(names: tuple[str, ...]) -> None:
    """Those at the paths of the links of the same save; if it has another file, all of its files stay."""
    beside = [BesideWriter(lambda staged: staged.write_text("old"), ".pt", name) for name in names]
    commit(Path("last-D.pt"), lambda staged: staged.write_text("old"), beside=beside, epoch=1, step=1)
    put(Path("D.pt"), "D", 2)
    links = [Path("last-D.pt"), Path("last-G.pt")]
    if "mine.pt" in names:
        with pytest.raises(CheckpointError, match=r"cannot be a link here: its file 'mine\.pt' is not one of the run"):
            link_newest(links[0], Path("D.pt"), links)
        assert {Path(each).read_text() for each in ("last-D.pt", *names)} == {"old"}
    else:
        link_newest(links[0], Path("D.pt"), links)
        assert not links[1].exists()
        assert links[0].read_text() == "D"
