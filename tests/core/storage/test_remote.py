"""The laws of checkpoints hold in every store, as they do on this machine's disk."""

import os
import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.servers import SERVED
from trainbus import CheckpointError
from trainbus.checkpoints import commit, manifest_of, newest_intact, read, remove, scan
from trainbus.storage import remote, remote_cache
from trainbus.storage.atomic_file import STAGED
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import RemotePath

from .stores import STORES, dying_at, new_directory


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, log_in: Callable[[str], str]) -> str:
    """Each store in turn."""
    if request.param in SERVED:
        log_in(request.param)
    return request.param


def put(path: RemotePath, text: str, number: int) -> None:
    """Commit a content that says which one it is, with a run state that says the same."""
    commit(path, lambda staged: staged.write_text(text), epoch=number, step=number, run_state={"text": text})


def text_at(path: RemotePath) -> str:
    """Return the text at a path; None if there is no file."""
    return "" if backend_for(path).size() is None else backend_for(path).read().decode()


def nothing_staged() -> bool:
    """Return whether this process has left no file on its own disk."""
    return os.listdir(remote_cache.process_directory()) == [remote_cache.LOCK]


@pytest.mark.covering(1)
@pytest.mark.parametrize("first", [False, True])
def test_a_death_at_any_call_leaves_the_old_or_the_new_with_its_own_run_state(store: str, first: bool) -> None:
    """Dead from any of its calls to the store on, a commit leaves a path that reads as the old or the new content."""
    seen = set()
    root = new_directory(store)
    for step in count():
        directory = root / str(step)
        path = directory / "best.bin"
        if not first:
            put(path, "old", 1)
        with dying_at(store, step) as died:
            try:
                put(path, "new", 2)
            except CheckpointError:
                assert died()
        found = text_at(path)
        if found:
            assert read(path).entry.run_state == {"text": found}
        else:
            assert first
        seen.add(found)
        put(path, "later", 3)
        backend_for(directory).remove_debris()
        assert sorted(backend_for(directory).list_names()) == ["best.bin", "trainbus.best.bin.json"]
        assert read(path).entry.run_state == {"text": "later"}
        assert nothing_staged()
        if not died():
            break

    assert step >= 4
    assert seen == ({"", "new"} if first else {"old", "new"})


def test_a_failed_write_never_reaches_the_store(store: str) -> None:
    """The writer's error names the URL; nothing was uploaded and no file is left on this machine."""
    path = new_directory(store) / "best.bin"
    put(path, "old", 1)

    def fail(staged: Path) -> None:
        assert staged.suffix == ".bin"
        staged.write_text("half of the ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=rf"{path}.* was not written.*No space"):
        commit(path, fail, epoch=2, step=2)

    assert read(path).entry.run_state == {"text": "old"}
    assert nothing_staged()


def test_damage_is_named_and_the_one_before_is_found(store: str) -> None:
    """Changed, cut, lost and foreign files get different flaws, and the newest intact one is found by its step."""
    root = new_directory(store)
    for number in range(1, 6):
        put(root / f"{number}.bin", f"text {number}", number)
    backend_for(root / "5.bin").replace("texT 5")
    backend_for(root / "4.bin").replace("cut")
    backend_for(root / "3.bin").remove()
    backend_for(manifest_of(root / "1.bin")).remove()
    backend_for(root / "log.txt").replace("a stranger")

    newest, skipped = newest_intact(root)

    assert newest is not None
    assert (newest.path, newest.step) == (root / "2.bin", 2)
    flaws = {found.path.name: found.flaw.split(":")[0] for found in skipped}
    assert flaws == {
        "5.bin": "damaged",
        "4.bin": "damaged",
        "3.bin": "missing",
        "1.bin": "its manifest 'trainbus.1.bin.json' is missing",
    }
    with pytest.raises(CheckpointError, match=r"5\.bin.*is damaged"):
        read(root / "5.bin")


def test_a_file_of_somebody_else_is_kept_until_it_is_replaced(store: str) -> None:
    """A death before the upload leaves a foreign file as it was, and readable."""
    for step in count():
        path = new_directory(store) / "best.bin"
        backend_for(path.parent / "other").create("")  # type: ignore[attr-defined] # makes the directory
        backend_for(path).replace("foreign")
        with dying_at(store, step) as died:
            try:
                put(path, "new", 2)
            except CheckpointError:
                assert died()
        if backend_for(manifest_of(path)).size() is not None:
            assert read(path).entry.run_state == ({} if text_at(path) == "foreign" else {"text": "new"})
        if not died():
            break


def test_a_second_name_stays_when_the_first_is_replaced_and_removed(store: str) -> None:
    """The copy keeps its content, whatever happens to the original name."""
    path = new_directory(store) / "best.bin"
    put(path, "old", 1)
    backend_for(path).hard_link("kept.bin")
    put(path, "new", 2)
    remove(path)

    assert backend_for(path.with_name("kept.bin")).read() == b"old"


def test_a_new_name_replaces_the_object_that_has_it(store: str) -> None:
    """The old name is removed last, so that the content always has one of them."""
    path = new_directory(store) / "best.bin"
    backend_for(path).replace("new")
    backend_for(path.with_name("other.bin")).replace("old")
    backend_for(path).rename("other.bin")
    assert backend_for(path.with_name("other.bin")).read() == b"new"
    assert backend_for(path).size() is None


def test_a_copy_that_a_store_makes_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure may copy later and show an empty file until then; a copy that never appears is an error."""
    path, copy, info = new_directory("memory") / "best.bin", MemoryFileSystem.cp_file, MemoryFileSystem.info
    backend_for(path).replace("old")
    started, looks = [], count(1)

    def start(files: Any, source: str, target: str) -> None:
        files.pipe_file(target, b"")
        started.append(partial(copy, files, source, target))

    def look(files: Any, name: str) -> Any:
        if started and next(looks) == 5:
            started.pop()()
        return info(files, name)

    monkeypatch.setattr(MemoryFileSystem, "cp_file", start)
    monkeypatch.setattr(MemoryFileSystem, "info", look)
    monkeypatch.setattr(remote, "COPY_SECONDS", 1.0)
    backend_for(path).hard_link("kept.bin")
    assert backend_for(path.with_name("kept.bin")).read() == b"old"

    monkeypatch.setattr(remote, "COPY_SECONDS", 0.0)
    with pytest.raises(OSError, match=r"best\.bin' was not copied within 0 s"):
        backend_for(path).hard_link("other.bin")


def test_a_directory_is_refused_and_a_name_may_hold_brackets(store: str) -> None:
    """A path with files below it is left alone; wildcard characters in names are ordinary characters."""
    root = new_directory(store)
    put(root / "a[1]*" / "best[0].bin", "whole", 1)

    with pytest.raises(CheckpointError, match="is a directory"):
        put(root / "a[1]*", "new", 1)
    assert [found.path for found in scan(root / "a[1]*", verify=True)] == [root / "a[1]*" / "best[0].bin"]


def test_a_reader_beside_a_writer_reads_complete_checkpoints_only(store: str) -> None:
    """Whatever is committed meanwhile, each read returns a content and its own run state, in order."""
    path = new_directory(store) / "best.bin"
    put(path, "0", 0)
    done = threading.Event()

    def write() -> None:
        for number in range(1, 15):
            put(path, str(number) * 1000, number)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    steps = [0]
    while not done.is_set():
        steps.append(read(path).step)
    writer.join()

    assert steps == sorted(steps)
    assert read(path).step == 14


class Store(RuleBasedStateMachine):
    """Any sequence of commits, deaths, failures and removals over some paths, against a model of what was committed."""

    paths = st.sampled_from(["a.bin", "b.bin", "deep/c.bin"])

    def __init__(self, store: str) -> None:
        super().__init__()
        self.store = store
        self.root = new_directory(store)
        self.numbers = count()
        self.possible: dict[RemotePath, set[str]] = {}

    @rule(name=paths)
    def commit(self, name: str) -> None:
        path, text = self.root / name, str(next(self.numbers))
        put(path, text, int(text))
        self.possible[path] = {text}

    @rule(name=paths, step=st.integers(0, 16))
    def die_while_committing(self, name: str, step: int) -> None:
        path, text = self.root / name, str(next(self.numbers))
        with dying_at(self.store, step) as died:
            try:
                put(path, text, int(text))
            except CheckpointError:
                assert died()
        found = text_at(path)
        assert found in self.possible.get(path, {""}) | {text}
        self.possible[path] = {found}

    @rule(name=paths)
    def remove(self, name: str) -> None:
        remove(self.root / name)
        self.possible.pop(self.root / name, None)

    @rule()
    def sweep(self) -> None:
        for directory in {path.parent for path in self.possible}:
            backend_for(directory).remove_debris()
            there = backend_for(directory).list_names() if backend_for(directory).is_directory() else []
            assert not [name for name in there if name.startswith(STAGED)]

    @invariant()
    def every_path_reads_as_what_was_committed(self) -> None:
        for path, texts in self.possible.items():
            if texts != {""}:
                assert text_at(path) in texts
                assert read(path).entry.run_state == {"text": text_at(path)}


def test_any_sequence_of_commits_and_deaths_is_read_as_committed(store: str) -> None:
    """After any operations, finished or not, each path reads as what was committed there."""
    part = 10 if store in SERVED else 3  # of the examples that the profile asks for: each step is a dozen calls
    some = settings(max_examples=max(settings.default.max_examples // part, 1), stateful_step_count=15)
    run_state_machine_as_test(partial(Store, store), settings=some)


def test_an_upload_in_parts_that_was_never_finished_is_removed_by_the_owner_only(s3: str) -> None:
    """S3 keeps such parts, unseen and paid for; those of another directory are left alone."""
    mine, other = new_directory("s3"), new_directory("s3")
    files = fsspec.filesystem("s3")
    for directory in (mine, other):
        files.call_s3("create_multipart_upload", Bucket="bucket", Key=f"{directory.name}/big.bin")

    backend_for(mine).remove_debris()

    keys = {upload["Key"] for upload in files.list_multipart_uploads("bucket")}
    assert f"{other.name}/big.bin" in keys
    assert f"{mine.name}/big.bin" not in keys


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # aiohttp's advice to its callers
def test_large_files_are_uploaded_in_parts_and_appear_as_one(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many requests takes the place of the one before when its last part is there, and not if one fails."""
    protocol, least = bucket.partition(":")[0], 5 << 20  # S3 takes no smaller parts, and gcsfs makes them from there on
    if protocol == "s3":
        monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda *_, **__: least)
    if protocol == "az":
        files = fsspec.filesystem("az")
        monkeypatch.setattr(files, "max_concurrency", 1)  # parallel uploads would fail unnoticed and raise at the end
        for limit in ("max_single_put_size", "max_block_size"):
            monkeypatch.setattr(files.service_client._config, limit, least)
    path, large = new_directory(protocol) / "best.bin", os.urandom(11 << 20)
    put(path, "old", 1)
    seen = []
    for step in count(2):  # before that nothing is uploaded
        with dying_at(protocol, step) as died:
            try:
                commit(path, lambda staged: staged.write_bytes(large), epoch=2, step=2)
            except CheckpointError:
                assert died()
        seen.append(read(path).step)
        if seen[-1] == 2:
            break

    assert len(seen) > 3
    assert backend_for(path).read() == large
