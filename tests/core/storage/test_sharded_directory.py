"""The laws of payload directories: complete, with their own run state, at every instant."""

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError
from trainbus.checkpoints import commit, manifest_of, newest_intact, read, remove, remove_debris, scan
from trainbus.storage.atomic_file import STAGED
from trainbus.storage.sharded_directory import SHARDS

from .dying import dying_at, in_child
from .parts import fill


def text_in(path: Path) -> str:
    """Return what a reader without trainbus reads: the index, and the parts that it names."""
    (text,) = {(path / part).read_text() for part in (path / "index").read_text().split()}
    return text


def put(path: Path, text: str, number: int = 1) -> None:
    """Commit a content that says which one it is, with a run state that says the same."""
    run_state = {"text": text}
    commit(path, lambda staged: fill(staged, text), directory=True, epoch=number, step=number, run_state=run_state)


def deaths(work) -> Iterator[int]:
    """Run ``work``, which takes the number of its trial, dying right before its first call, its second, and so on."""
    for step in count():
        died = dying_at(step, lambda step=step: work(step))
        yield step
        if not died:
            return


@pytest.mark.parametrize("first", [False, True])
def test_a_death_at_any_call_leaves_the_old_or_the_new_with_its_own_run_state(first: bool) -> None:
    """Killed before any of its file system calls, a commit leaves what reads as the old or the new content."""
    if not first:
        for step in range(100):
            put(Path(f"{step}/best.parts"), "old")
    seen = set()
    for step in deaths(lambda step: put(Path(f"{step}/best.parts"), "new")):
        path = Path(f"{step}/best.parts")
        assert first or path.exists()
        if path.exists():
            seen.add(text_in(path))
            assert read(path).entry.run_state == {"text": text_in(path)}
            for found in scan(path.parent):
                assert not found.flaw
            remove_debris(path.parent)
            assert sorted(os.listdir(path)) == ["index", f"{SHARDS}{text_in(path)}"], "no part is left over"
        put(path, "later")
        remove_debris(path.parent)
        assert sorted(os.listdir(path.parent)) == ["best.parts", "trainbus.best.parts.json"]
        assert text_in(path) == read(path).entry.run_state["text"] == "later"

    assert 20 < step < 100
    assert seen == ({"new"} if first else {"old", "new"})


def test_a_death_in_a_removal_leaves_it_complete_or_gone() -> None:
    """Killed before any call, a removal leaves a complete payload, or one that is listed as missing, never half."""
    for step in range(40):
        put(Path(f"{step}/best.parts"), "old")
    seen = set()
    for step in deaths(lambda step: remove(Path(f"{step}/best.parts"))):
        path = Path(f"{step}/best.parts")
        newest, skipped = newest_intact(path.parent)
        seen.add((newest is not None, len(skipped)))
        assert (path / "index").exists() == (newest is not None)
        put(path, "later")
        assert text_in(path) == "later"

    assert seen == {(True, 0), (False, 1), (False, 0)}


@given(st.data())
def test_every_damaged_part_is_found(data) -> None:
    """A file with a flipped bit, a short, empty or missing one is named, and the payload is skipped."""
    path = Path("best.parts")
    shutil.rmtree(path, ignore_errors=True)
    put(path, "new")
    part = data.draw(st.sampled_from(sorted(each for each in path.rglob("*") if each.is_file())))
    content = part.read_bytes()
    flipped = bytearray(content)
    position = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped[position // 8] ^= 1 << position % 8
    for spoilt in (bytes(flipped), content[:-1], b"", content + b"\0", None):
        part.unlink()
        if spoilt is not None:
            part.write_bytes(spoilt)
        with pytest.raises(CheckpointError, match=r"best.parts.*is damaged: ") as raised:
            read(path)
        assert part.name in str(raised.value)
        newest, (found,) = newest_intact(Path())
        assert newest is None
        assert found.flaw.startswith("damaged: ")
        part.write_bytes(content)
    assert read(path).entry.size == sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def test_a_part_that_nobody_names_changes_nothing() -> None:
    """A foreign file among the shards is not read, and is removed by the next save."""
    path = Path("best.parts")
    put(path, "old")
    (path / f"{SHARDS}foreign").mkdir()
    (path / f"{SHARDS}foreign" / "part").write_text("foreign")

    assert read(path).entry.run_state == {"text": "old"}
    put(path, "new")
    assert sorted(os.listdir(path)) == ["index", f"{SHARDS}new"]


@pytest.mark.parametrize("present", ["file", "files", "link"])
def test_what_is_no_payload_is_neither_replaced_nor_removed(present: str) -> None:
    """A file, a directory with somebody's files and a planted link stay as they are; the error names the path."""
    path, victim = Path("best.parts"), Path("victim")
    victim.mkdir()
    if present == "file":
        path.write_text("precious")
    elif present == "files":
        path.mkdir()
        for name in ("precious", "too"):
            (path / name).write_text(name)
    else:
        path.symlink_to(victim)

    with pytest.raises(CheckpointError, match=r"best.parts.*is (a file|not empty|a link)"):
        put(path, "new")
    assert not list(victim.iterdir())
    assert not list(Path().glob(f"{STAGED}*"))
    if present == "files":
        with pytest.raises(CheckpointError, match="not part of the checkpoint"):
            remove(path)
        assert (path / "too").read_text() == "too"


@pytest.mark.parametrize("wrong", ["nothing", "two at the top", "another name"])
def test_what_is_written_has_to_be_laid_out(wrong: str) -> None:
    """A payload without an index, or with files elsewhere, is refused before anything is replaced."""
    path = Path("best.parts")
    put(path, "old")

    def write(staged: Path) -> None:
        if wrong != "nothing":
            fill(staged, "new")
        if wrong == "two at the top":
            (staged / "another").write_text("")
        if wrong == "another name":
            (staged / "another").mkdir()

    with pytest.raises(CheckpointError, match="must contain one file, the index"):
        commit(path, write, directory=True, epoch=2, step=2)
    assert read(path).entry.run_state == {"text": text_in(path)} == {"text": "old"}
    assert sorted(os.listdir()) == ["best.parts", "trainbus.best.parts.json"]


def test_without_its_manifest_a_payload_is_named() -> None:
    """One that lost its manifest is skipped by name, and is kept until the next save replaces it."""
    put(Path("a.parts"), "a")
    put(Path("b.parts"), "b", 2)
    manifest_of(Path("b.parts")).unlink()

    newest, (lost,) = newest_intact(Path())
    assert newest is not None
    assert (newest.path.name, lost.path.name) == ("a.parts", "b.parts")
    texts = [text_in(Path("b.parts")) for _ in deaths(lambda _: put(Path("b.parts"), "new", 3))]
    assert len(texts) > 20
    assert set(texts) == {"b", "new"}
    assert read(Path("b.parts")).entry.run_state == {"text": "new"}


def test_a_reader_beside_a_writer_sees_complete_payloads_only() -> None:
    """While one process replaces a payload again and again, every read of another is one that was committed."""
    path = Path("best.parts")
    put(path, "0", 0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for number in range(1, 40):
                put(path, str(number), number)
            os.write(writer, b".")
        finally:
            os._exit(0)
    os.close(writer)
    seen = [0]
    while seen[-1] < 39:
        found = read(path).entry
        assert found.run_state == {"text": str(found.step)}
        assert found.step >= seen[-1]
        seen.append(found.step)
    os.waitpid(child, 0)
    os.close(reader)
    assert len(set(seen)) > 2


def test_the_digest_is_that_of_all_parts() -> None:
    """Two payloads with the same parts have the same digest, two that differ in one name do not."""
    for name, text in (("a.parts", "x"), ("b.parts", "x"), ("c.parts", "y")):
        put(Path(name), text)
    a, b, c = (read(Path(name)).entry.digest for name in ("a.parts", "b.parts", "c.parts"))

    assert a == b != c


def test_a_commit_of_parts_in_a_fork_dies_with_its_error() -> None:
    """The writer's error is raised unchanged, and the staged directory is removed."""

    def fail() -> None:
        commit(Path("best.parts"), lambda staged: fill(staged / "missing", "x"), directory=True, epoch=1, step=1)

    assert in_child(fail) == 1
    assert not list(Path().iterdir())
