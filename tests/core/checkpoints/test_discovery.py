"""The laws of checkpoints: complete, with their own memory, at every instant."""

import hashlib
import os
import shutil
import stat
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trainbus import CheckpointError
from trainbus.checkpoints import commit, manifest_of, newest_intact, read, remove, scan
from trainbus.checkpoints import commit as commits
from trainbus.storage.atomic_file import STAGED, make_directory, remove_debris, verified
from trainbus.storage.sharded_directory import Part

from ..storage.dying import MEMORY, dying_at, with_room_for


def put(path: Path, text: str, number: int) -> None:
    """Commit a content that says which one it is, with a memory that says the same."""
    commit(path, lambda staged: staged.write_text(text), epoch=number, step=number, memory={"text": text})


@pytest.mark.parametrize("first", [False, True])
def test_a_death_at_any_call_leaves_the_old_or_the_new_with_its_own_memory(first: bool) -> None:
    """Killed before any of its file system calls, a commit leaves a path that reads as the old or the new content."""
    seen = set()
    for step in count():
        path = Path(f"{step}/best.bin")
        if not first:
            put(path, "old", 1)
        died = dying_at(step, lambda path=path: put(path, "new", 2))
        if path.exists():
            found = read(path)
            assert found.content.memory == {"text": path.read_text()}
            seen.add(path.read_text())
        else:
            assert first
        put(path, "later", 3)
        remove_debris(path.parent)
        assert sorted(os.listdir(path.parent)) == ["best.bin", "best.bin.trainbus.json"]
        assert read(path).content.memory == {"text": "later"}
        if not died:
            break

    assert step > 10
    assert seen == ({"new"} if first else {"old", "new"})


def test_a_file_of_somebody_else_is_kept_until_the_rename() -> None:
    """Where a foreign file stood, a death between the renames leaves it readable as what it is."""
    for step in count():
        path = Path(f"{step}/best.bin")
        path.parent.mkdir()
        path.write_text("foreign")
        died = dying_at(step, lambda path=path: put(path, "new", 2))
        if manifest_of(path).exists():
            assert read(path).content.memory == ({} if path.read_text() == "foreign" else {"text": "new"})
        if not died:
            break


@given(st.binary(min_size=1, max_size=60), st.data())
def test_no_flipped_bit_and_no_truncation_goes_unseen(content: bytes, data) -> None:
    """A payload that differs in any bit, or is shorter or longer, is refused by name."""
    path = Path("best.bin")
    commit(path, lambda staged: staged.write_bytes(content), epoch=1, step=1)
    position = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[position // 8] ^= 1 << position % 8
    for spoilt in (bytes(flipped), content[:-1], content + b"\0"):
        path.write_bytes(spoilt)
        with pytest.raises(CheckpointError, match=r"best.bin.*is damaged"):
            read(path)


@given(st.data())
def test_no_flipped_bit_of_a_manifest_changes_a_memory(data) -> None:
    """A manifest that differs in any bit is as good as none, whatever the bit means."""
    path = Path("best.bin")
    put(path, "new", 1234567)
    manifest = manifest_of(path)
    flipped = bytearray(manifest.read_bytes())
    position = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[position // 8] ^= 1 << position % 8
    manifest.write_bytes(flipped)

    with pytest.raises(CheckpointError, match="manifest"):
        read(path)


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"format": 2, "contents": []}', '{"contents": [{"digest": 1}]}'])
def test_a_spoilt_manifest_is_no_checkpoint(spoilt: str) -> None:
    """A manifest that is empty, torn, foreign or from the future is never taken for a memory."""
    path = Path("best.bin")
    put(path, "new", 1)
    manifest_of(path).write_text(spoilt)

    with pytest.raises(CheckpointError, match="manifest"):
        read(path)
    put(path, "next", 2)
    assert read(path).content.memory == {"text": "next"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64")])
def test_a_failed_write_leaves_everything_as_it_was(error: Exception) -> None:
    """Whatever the writer raises after writing half, payload and memory stay whole and no debris is left."""
    path = Path("best.bin")
    put(path, "old", 1)

    def fail(staged: Path) -> None:
        staged.write_text("half of the ne")
        raise error

    with pytest.raises(CheckpointError, match=r"best.bin.* was not written") as raised:
        commit(path, fail, epoch=2, step=2)

    assert raised.value.__cause__ is error
    assert read(path).content.memory == {"text": "old"}
    assert sorted(os.listdir()) == ["best.bin", "best.bin.trainbus.json"]


@pytest.mark.parametrize("first", [False, True])
def test_a_disk_that_is_full_at_any_file_tells_the_truth_of_what_is_there(first: bool) -> None:
    """A commit that raises has changed nothing, whichever of its files found no room; one that returns is there."""
    told = set()
    for files in count():
        path = Path(f"{files}/best.bin")
        path.parent.mkdir()
        if not first:
            put(path, "old", 1)

        def save(path: Path = path) -> None:
            try:
                put(path, "new", 2)
            except CheckpointError:
                os._exit(3)

        failed = with_room_for(files, save) == 3
        told.add(failed)
        assert (path.exists() and read(path).content.memory["text"]) == ((not first and "old") if failed else "new")
        assert not list(path.parent.glob(f"{STAGED}*"))
        put(path, "later", 3)
        assert [each.content.epoch for each in scan(path.parent)] == [3]
        if files > 4:
            break

    assert told == {True, False}


def test_an_interrupt_passes_as_it_is_and_leaves_no_debris() -> None:
    """Ctrl-C while writing is not hidden behind a CheckpointError."""

    def fail(staged: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        commit(Path("best.bin"), fail, epoch=1, step=1)
    assert os.listdir() == []


def test_a_directory_is_refused() -> None:
    """A path that is a directory is left alone."""
    Path("best").mkdir()

    with pytest.raises(CheckpointError, match="is a directory"):
        put(Path("best"), "new", 1)
    assert Path("best").is_dir()


def test_a_planted_link_is_replaced_and_its_target_untouched() -> None:
    """A symbolic link at the path or at the manifest is not followed."""
    victim = Path("victim")
    victim.write_text("precious")
    for planted in (Path("best.bin"), manifest_of(Path("best.bin"))):
        planted.symlink_to(victim)

    put(Path("best.bin"), "new", 1)

    assert victim.read_text() == "precious"
    assert not Path("best.bin").is_symlink()


def test_files_have_the_rights_of_any_new_file() -> None:
    """Payload and manifest are as readable as files that open() makes."""
    Path("plain").touch()
    put(Path("best.bin"), "new", 1)

    for path in (Path("best.bin"), manifest_of(Path("best.bin"))):
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(Path("plain").stat().st_mode)


def test_the_staged_file_has_the_suffix_and_directory_of_its_target() -> None:
    """Writers that look at the suffix, and renames that must not cross file systems, get what they need."""
    seen: list[Path] = []
    for name in ("a.keras", "a.weights.h5", "a"):
        commit(Path(name), lambda staged: (seen.append(staged), staged.touch()), epoch=1, step=1)

    assert [path.name.endswith(suffix) for path, suffix in zip(seen, (".keras", ".weights.h5", ""), strict=True)]
    assert {path.parent.resolve() for path in seen} == {Path.cwd()}
    assert all(path.name.startswith(STAGED) for path in seen)


def test_found_are_the_complete_latest_step_first() -> None:
    """A directory's checkpoints come by step, not by time; those that are gone or cut short are left out."""
    for number in (3, 1, 2, 5, 4):
        put(Path(f"{number}.bin"), f"text {number}", number)
    Path("5.bin").write_text("cut")
    remove(Path("4.bin"))
    Path("stranger.txt").touch()

    assert [found.path.name for found in scan(Path()) if not found.flaw] == ["3.bin", "2.bin", "1.bin"]


def test_after_a_death_between_the_renames_the_content_found_is_the_one_that_is_there() -> None:
    """Where a manifest tells of two contents of one size, the digest and not the order decides which it is."""
    for step in count():
        path = Path(f"{step}/best.bin")
        put(path, "old", 1)
        died = dying_at(step, lambda path=path: put(path, "new", 2))
        assert [found.content.memory for found in scan(path.parent) if found.content and not found.flaw] == [
            {"text": path.read_text()}
        ]
        if not died:
            break


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_the_newest_intact_is_the_latest_step_that_nothing_spoilt(order, flipped: set[int], gone: set[int]) -> None:
    """Whatever the order of writing and whatever is damaged, what is later and was passed over is named."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        root = Path(folder)
        for number in order:
            put(root / f"{number}.bin", f"text {number}", number)
        for number in flipped:
            (root / f"{number}.bin").write_text("texT 0")
        for number in gone:
            (root / f"{number}.bin").unlink(missing_ok=True)
        newest, passed_over = newest_intact(root)

    sound = max(set(range(6)) - flipped - gone, default=-1)
    assert (-1 if newest is None else newest.step) == sound
    assert [found.path.stem for found in passed_over] == [str(number) for number in range(5, sound, -1)]
    for found in passed_over:
        assert found.flaw.startswith("missing" if int(found.path.stem) in gone else "damaged")


def test_a_payload_whose_manifest_is_lost_is_passed_over_by_name() -> None:
    """Without its manifest nobody knows how late it was, so it is named whatever else is found."""
    put(Path("1.bin"), "one", 1)
    put(Path("2.bin"), "two", 2)
    put(Path("3.bin"), "three", 3)
    manifest_of(Path("2.bin")).unlink()
    manifest_of(Path("3.bin")).write_text("{")

    newest, passed_over = newest_intact(Path())

    assert newest is not None
    assert newest.step == 1
    assert [(found.path.name, found.flaw.split()[-1]) for found in passed_over] == [
        ("2.bin", "missing"),
        ("3.bin", "damaged"),
    ]


def test_a_file_of_somebody_else_is_never_the_newest_checkpoint() -> None:
    """Where a first save died before its rename, the foreign file that still stands there is named and not taken."""
    Path("best.bin").write_text("foreign")
    for step in count():
        if not dying_at(step, lambda: put(Path("best.bin"), "new", 1)):
            break
        newest, passed_over = newest_intact(Path())
        assert (newest is None) == (Path("best.bin").read_text() == "foreign")
        assert not passed_over or "somebody else" in passed_over[0].flaw


def test_files_that_were_never_checkpoints_are_not_taken_for_them() -> None:
    """Locks, directories, other suffixes, files without one, and a manifest of nothing are no part of the listing."""
    put(Path("plain"), "one", 1)
    for stranger in ("notes", ".trainbus.lock", ".trainbus.json", f"{STAGED}x", "log.txt"):
        Path(stranger).touch()
    Path("folder").mkdir()

    assert [found.path.name for found in scan(Path())] == ["plain"]


def test_a_manifest_that_cannot_be_read_is_a_flaw_and_no_end() -> None:
    """A directory in the place of a manifest spoils that one checkpoint only."""
    put(Path("1.bin"), "one", 1)
    manifest_of(Path("2.bin")).mkdir()

    assert [found.flaw.split(":")[0] for found in scan(Path())] == ["", "its manifest cannot be read"]
    with pytest.raises(CheckpointError, match="cannot be searched"):
        newest_intact(Path("nowhere"))


def test_a_reader_is_never_told_of_damage_where_a_writer_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits at the worst moments of a reading leave it with a complete content and that one's memory."""
    path = Path("best.bin")
    put(path, "0", 0)
    real = Path.read_bytes
    numbers = iter(range(1, 5))
    reading = []

    def overtaken(self: Path) -> bytes:
        if not reading and (number := next(numbers, None)):  # the writer's own readings pass
            reading.append(number)
            put(path, str(number), number)
            reading.clear()
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", overtaken)

    assert read(path).content.memory == {"text": path.read_text()} == {"text": "4"}


def test_new_directories_are_on_the_disk_before_what_lies_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each directory that is made is synced in the one above it, or a power cut would take it with all its files."""
    synced: list[Path] = []
    monkeypatch.setattr("trainbus.storage.atomic_file.sync", synced.append)

    make_directory(Path("a/b/c"))
    make_directory(Path("a/b/c"))

    assert synced == [Path(), Path("a"), Path("a/b")]


class Store(RuleBasedStateMachine):
    """Any sequence of commits, deaths, failures and removals over some paths, against a model of what was committed."""

    paths = st.sampled_from(["a.bin", "b.bin", "deep/c.bin"])

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=MEMORY))
        self.numbers = count()
        self.possible: dict[Path, set[str]] = {}

    @rule(name=paths)
    def commit(self, name: str) -> None:
        path, text = self.root / name, str(next(self.numbers))
        put(path, text, int(text))
        self.possible[path] = {text}

    @rule(name=paths, step=st.integers(0, 20))
    def die_while_committing(self, name: str, step: int) -> None:
        path, text = self.root / name, str(next(self.numbers))
        if dying_at(step, lambda: put(path, text, int(text))):
            found = path.read_text() if path.exists() else ""
            assert found in self.possible.get(path, {""}) | {text}
            self.possible[path] = {found}
        else:
            self.possible[path] = {text}

    @rule(name=paths)
    def fail_while_committing(self, name: str) -> None:
        def fail(staged: Path) -> None:
            staged.write_text("half")
            raise OSError("no")

        with pytest.raises(CheckpointError):
            commit(self.root / name, fail, epoch=0, step=0)

    @rule(name=paths)
    def remove(self, name: str) -> None:
        remove(self.root / name)
        self.possible.pop(self.root / name, None)

    @rule()
    def remove_debris(self) -> None:
        for directory in (self.root, self.root / "deep"):
            remove_debris(directory)
            assert not list(directory.glob(f"{STAGED}*"))

    @invariant()
    def every_path_reads_as_what_was_committed(self) -> None:
        for path, texts in self.possible.items():
            if texts != {""}:
                found = read(path)
                assert path.read_text() in texts
                assert found.content.memory == {"text": path.read_text()}

    def teardown(self) -> None:
        shutil.rmtree(self.root)


TestStore = Store.TestCase
TestStore.settings = settings(stateful_step_count=25)


def test_a_commit_while_reading_is_never_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a whole commit falls between opening the payload and reading its manifest, the new checkpoint is read."""
    path = Path("best.bin")
    put(path, "old", 1)
    real, new = commits.entries_of, iter(["new"])

    def overtaken(of: Path) -> object:
        for text in new:
            put(of, text, 2)
        return real(of)

    monkeypatch.setattr(commits, "contents_of", overtaken)
    assert read(path).content.memory == {"text": "new"}


@pytest.mark.parametrize("in_parts", [False, True])
def test_what_is_not_what_was_meant_takes_no_place(in_parts: bool, tmp_path: Path) -> None:
    """Whoever writes may say the digest of what it meant; where the disk has something else the old file stays."""
    path = tmp_path / "best.bin"

    def write(staged: Path, meant: bytes, there: bytes) -> object:
        if in_parts:
            part = Part(name="index", size=len(there), digest=hashlib.sha256(meant).hexdigest())
            (staged / "index").write_bytes(there)
            return [part] if meant == there else verified(staged / "index", part.digest)
        staged.write_bytes(there)
        return hashlib.sha256(meant).hexdigest()

    commit(path, lambda staged: write(staged, b"old", b"old"), directory=in_parts, epoch=1, step=1)
    with pytest.raises(CheckpointError, match="the disk does not hold what was written to it"):
        commit(path, lambda staged: write(staged, b"new", b"ne"), directory=in_parts, epoch=2, step=2)

    assert read(path).epoch == 1
    assert sorted(os.listdir(tmp_path)) == ["best.bin", "best.bin.trainbus.json"]
