"""The laws of a commit: a path holds a complete payload, with its own run state, at every instant."""

import hashlib
import importlib
import os
import shutil
import stat
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.core.storage.dying import MEMORY, dying_at, with_room_for
from trainbus import CheckpointError
from trainbus.checkpoints import Checkpoint, CheckpointInfo, commit, manifest_of, read, remove, scan
from trainbus.checkpoints.manifest import ManifestEntry
from trainbus.storage.atomic_file import STAGED, remove_debris, verified
from trainbus.storage.local import LocalBackend
from trainbus.storage.sharded_directory import Part

from .committing import put


@pytest.mark.parametrize("first", [False, True])
def test_a_death_at_any_call_leaves_the_old_or_the_new_with_its_own_run_state(first: bool) -> None:
    """Killed before any of its file system calls, a commit leaves a path that reads as the old or the new content."""
    seen = set()
    for step in count():
        path = Path(f"{step}/best.bin")
        if not first:
            put(path, "old", 1)
        died = dying_at(step, lambda path=path: put(path, "new", 2))
        if path.exists():
            found = read(path)
            assert found.entry.run_state == {"text": path.read_text()}
            seen.add(path.read_text())
        else:
            assert first
        put(path, "later", 3)
        remove_debris(path.parent)
        assert sorted(os.listdir(path.parent)) == ["best.bin", "trainbus.best.bin.json"]
        assert read(path).entry.run_state == {"text": "later"}
        if not died:
            break

    assert step > 10
    assert seen == ({"new"} if first else {"old", "new"})


def test_a_file_of_somebody_else_is_kept_until_the_rename() -> None:
    """A death between the renames leaves a foreign file as it was, and readable."""
    for step in count():
        path = Path(f"{step}/best.bin")
        path.parent.mkdir()
        path.write_text("foreign")
        died = dying_at(step, lambda path=path: put(path, "new", 2))
        if manifest_of(path).exists():
            assert read(path).entry.run_state == ({} if path.read_text() == "foreign" else {"text": "new"})
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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64")])
def test_a_failed_write_leaves_everything_as_it_was(error: Exception) -> None:
    """Whatever the writer raises after writing half, payload and run state stay complete and no debris is left."""
    path = Path("best.bin")
    put(path, "old", 1)

    def fail(staged: Path) -> None:
        staged.write_text("half of the ne")
        raise error

    with pytest.raises(CheckpointError, match=r"best.bin.* was not written") as raised:
        commit(path, fail, epoch=2, step=2)

    assert raised.value.__cause__ is error
    assert read(path).entry.run_state == {"text": "old"}
    assert sorted(os.listdir()) == ["best.bin", "trainbus.best.bin.json"]


@pytest.mark.parametrize("first", [False, True])
def test_a_disk_that_is_full_at_any_file_tells_the_truth_of_what_is_there(first: bool) -> None:
    """A commit that raises has changed nothing, whichever file found no room; one that returns is complete."""
    outcomes = set()
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
        outcomes.add(failed)
        assert (path.exists() and read(path).entry.run_state["text"]) == ((not first and "old") if failed else "new")
        assert not list(path.parent.glob(f"{STAGED}*"))
        put(path, "later", 3)
        assert [each.entry.epoch for each in scan(path.parent)] == [3]
        if files > 4:
            break

    assert outcomes == {True, False}


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


def test_a_reader_never_reports_damage_if_a_writer_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits at the worst times of a read leave it with a complete content and its own run state."""
    path = Path("best.bin")
    put(path, "0", 0)
    real = LocalBackend.read
    numbers = iter(range(1, 5))
    reading = []

    def overtaken(self: LocalBackend) -> bytes:
        if not reading and (number := next(numbers, None)):  # the writer's own readings pass
            reading.append(number)
            put(path, str(number), number)
            reading.clear()
        return real(self)

    monkeypatch.setattr(LocalBackend, "read", overtaken)

    assert read(path).entry.run_state == {"text": path.read_text()} == {"text": "4"}


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
                assert found.entry.run_state == {"text": path.read_text()}

    def teardown(self) -> None:
        shutil.rmtree(self.root)


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=settings.default.max_examples // 3, stateful_step_count=25)


def test_a_commit_while_reading_is_never_reported_as_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a commit happens between opening the payload and reading its manifest, the new checkpoint is read."""
    path = Path("best.bin")
    put(path, "old", 1)
    module = importlib.import_module("trainbus.checkpoints.commit")  # the package has a function of this name
    real, new = module.entries_of, iter(["new"])

    def overtaken(of: Path) -> object:
        for text in new:
            put(of, text, 2)
        return real(of)

    monkeypatch.setattr(module, "entries_of", overtaken)
    assert read(path).entry.run_state == {"text": "new"}


@pytest.mark.parametrize("directory", [False, True])
def test_a_file_that_is_not_what_was_meant_replaces_nothing(directory: bool, tmp_path: Path) -> None:
    """A writer may return the digest of what it meant to write; if the disk holds something else the old file stays."""
    path = tmp_path / "best.bin"

    def write(staged: Path, meant: bytes, there: bytes) -> object:
        if directory:
            part = Part(name="index", size=len(there), digest=hashlib.sha256(meant).hexdigest())
            (staged / "index").write_bytes(there)
            return [part] if meant == there else verified(staged / "index", part.digest)
        staged.write_bytes(there)
        return hashlib.sha256(meant).hexdigest()

    commit(path, lambda staged: write(staged, b"old", b"old"), directory=directory, epoch=1, step=1)
    with pytest.raises(CheckpointError, match="the file's content differs from what was written to it"):
        commit(path, lambda staged: write(staged, b"new", b"ne"), directory=directory, epoch=2, step=2)

    assert read(path).epoch == 1
    assert sorted(os.listdir(tmp_path)) == ["best.bin", "trainbus.best.bin.json"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"run_state": {"rng": "A" * 100_000}},
        {"run_state": {"plugins": [{"name": "x"}] * 1000}},
        {"metrics": {f"loss_{number}": 1.0 for number in range(1000)}},
        {"reason": "val_loss improved " * 100},
        {"parts": tuple(Part(name=f"{number}.distcp", size=1, digest="0" * 64) for number in range(500))},
        {"epoch": 99, "step": 10**9},
    ],
)
def test_the_text_of_a_checkpoint_is_short(content: dict[str, Any]) -> None:
    """Whatever it holds: it has the path, the counters, the size, and the start of the digest."""
    entry = ManifestEntry(**{"digest": "a1b2c3d4" * 8, "size": 5, "epoch": 1, "step": 20, **content})
    found = Checkpoint(path=Path("run/m.npz"), entry=entry)
    counters = f"epoch={entry.epoch}, step={entry.step}, size=5, digest='a1b2c3d4'"

    assert repr(found) == f"Checkpoint(path='run/m.npz', {counters})"
    assert str(found) == f"path='run/m.npz' {counters.replace(',', '')}"
    assert counters in repr(CheckpointInfo(found.path, entry))
