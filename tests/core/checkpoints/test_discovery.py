"""The laws of finding checkpoints: the newest intact one by step, and a name for each that is skipped."""

import glob
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.storage.dying import MEMORY, dying_at
from trainbus import CheckpointError
from trainbus.checkpoints import manifest_of, newest_intact, payload_of, remove, scan
from trainbus.storage.atomic_file import STAGED

from .committing import put


def test_found_are_the_complete_latest_step_first() -> None:
    """A directory's checkpoints come by step, not by time; those that are gone or cut short are left out."""
    for number in (3, 1, 2, 5, 4):
        put(Path(f"{number}.bin"), f"text {number}", number)
    Path("5.bin").write_text("cut")
    remove(Path("4.bin"))
    Path("stranger.txt").touch()

    assert [found.path.name for found in scan(Path()) if not found.flaw] == ["3.bin", "2.bin", "1.bin"]


def test_after_a_death_between_the_renames_the_content_found_is_the_one_that_is_there() -> None:
    """If a manifest has two entries of one size, the digest and not the order decides which it is."""
    for step in count():
        path = Path(f"{step}/best.bin")
        put(path, "old", 1)
        died = dying_at(step, lambda path=path: put(path, "new", 2))
        assert [found.entry.run_state for found in scan(path.parent) if found.entry and not found.flaw] == [
            {"text": path.read_text()}
        ]
        if not died:
            break


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_the_newest_intact_is_the_latest_undamaged_step(order, flipped: set[int], gone: set[int]) -> None:
    """In any order of writing and of damage, the later ones that were skipped are named."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        root = Path(folder)
        for number in order:
            put(root / f"{number}.bin", f"text {number}", number)
        for number in flipped:
            (root / f"{number}.bin").write_text("texT 0")
        for number in gone:
            (root / f"{number}.bin").unlink(missing_ok=True)
        newest, skipped = newest_intact(root)

    sound = max(set(range(6)) - flipped - gone, default=-1)
    assert (-1 if newest is None else newest.step) == sound
    assert [found.path.stem for found in skipped] == [str(number) for number in range(5, sound, -1)]
    for found in skipped:
        assert found.flaw.startswith("missing" if int(found.path.stem) in gone else "damaged")


def test_a_payload_whose_manifest_is_lost_is_skipped_by_name() -> None:
    """Without its manifest its step is unknown, so it is named whatever other checkpoints are found."""
    put(Path("1.bin"), "one", 1)
    put(Path("2.bin"), "two", 2)
    put(Path("3.bin"), "three", 3)
    manifest_of(Path("2.bin")).unlink()
    manifest_of(Path("3.bin")).write_text("{")

    newest, skipped = newest_intact(Path())

    assert newest is not None
    assert newest.step == 1
    assert [(found.path.name, found.flaw.split()[-1]) for found in skipped] == [
        ("2.bin", "missing"),
        ("3.bin", "damaged"),
    ]


def test_a_file_of_somebody_else_is_never_the_newest_checkpoint() -> None:
    """If the first save died before its rename, the foreign file is named and not used."""
    Path("best.bin").write_text("foreign")
    for step in count():
        if not dying_at(step, lambda: put(Path("best.bin"), "new", 1)):
            break
        newest, skipped = newest_intact(Path())
        assert (newest is None) == (Path("best.bin").read_text() == "foreign")
        assert not skipped or skipped[0].flaw.startswith("not a checkpoint")


def test_files_that_were_never_checkpoints_are_not_listed() -> None:
    """Locks, directories, other suffixes, files without one, and a manifest of nothing are no part of the listing."""
    put(Path("plain"), "one", 1)
    for stranger in ("notes", ".trainbus.lock", "trainbus..json", "trainbus.json", f"{STAGED}x", "log.txt"):
        Path(stranger).touch()
    Path("folder").mkdir()

    assert [found.path.name for found in scan(Path())] == ["plain"]


@pytest.mark.parametrize("pattern", ["snapshot*", "snapshot_*.pt*", "*.pt", "*snap*.pt", "[a-s]*", "*.p?"])
def test_patterns_for_payloads_pass_over_manifests(pattern: str) -> None:
    """As those by which a training script finds its own files."""
    for step in (1, 2):
        put(Path(f"snapshot_{step}.pt"), "one", step)

    assert sorted(Path().glob(pattern)) == [Path("snapshot_1.pt"), Path("snapshot_2.pt")]


def test_a_move_of_all_files_takes_the_manifests_along() -> None:
    """They are no hidden files."""
    put(Path("snapshot_1.pt"), "one", 1)
    Path("moved").mkdir()
    for name in glob.glob("*.*"):  # noqa: PTH207 - as a shell finds them
        Path(name).rename(Path("moved", name))

    assert [(found.path, found.flaw) for found in scan(Path("moved"))] == [(Path("moved/snapshot_1.pt"), "")]


@pytest.mark.parametrize(
    "name", ["m.pt", "a.b.c", "trainbus.pt", "json", ".json", "trainbus.trainbus.x.json", "ä-1", "m"]
)
def test_a_manifest_names_its_payload(name: str) -> None:
    path = Path("run", name)

    assert payload_of(manifest_of(path)) == path
    assert manifest_of(path).parent == path.parent


@pytest.mark.parametrize(
    "name", ["m.pt", "trainbus..json", "trainbus....json", "trainbus.json", "trainbus.m.pt", "m.json"]
)
def test_what_is_no_manifest_has_no_payload(name: str) -> None:
    assert payload_of(Path("run", name)) is None


def test_a_manifest_that_cannot_be_read_is_a_flaw_and_no_end() -> None:
    """A directory at the path of a manifest invalidates that one checkpoint only."""
    put(Path("1.bin"), "one", 1)
    manifest_of(Path("2.bin")).mkdir()

    assert [found.flaw.split(":")[0] for found in scan(Path())] == ["", "its manifest cannot be read"]
    with pytest.raises(CheckpointError, match="cannot be searched"):
        newest_intact(Path("nowhere"))
