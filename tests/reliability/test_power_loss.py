"""A power cut at any time during a commit leaves the old or the new checkpoint, and undoes no finished commit.

Model: what was not synced may be lost. A file whose content was not synced may be empty, partial or complete; each name
that was made, renamed or removed since its directory was synced may be so or not, in any combination.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.core.storage.parts import fill
from trainbus import CheckpointError
from trainbus.checkpoints import commit, manifest_of, newest_intact, read, remove_debris
from trainbus.checkpoints.beside.files import BesideWriter
from trainbus.storage.atomic_file import sync
from trainbus.storage.local import LocalBackend

Disk = dict[Path, bytes]


class Recorder:
    """A recorder of the file system calls that decide what a power cut leaves, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Path, Path, bytes]] = []
        self.real: dict[str, Callable[..., Any]] = {}
        self.seen = {path.absolute() for path in Path().rglob("*")}
        for name in ("open", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir"):
            self.real[name] = getattr(os, name)
            monkeypatch.setattr(os, name, getattr(self, name))

    def note(self, call: str, path: Any, target: Any = "", data: bytes = b"") -> None:
        self.calls.append((call, Path(path).absolute(), Path(target).absolute(), data))
        self.seen.add(Path(path).absolute())

    def open(self, path: Any, flags: int, *args: Any, **options: Any) -> int:
        handle: int = self.real["open"](path, flags, *args, **options)
        if flags & os.O_EXCL:
            self.note("make", path)
        return handle

    def fsync(self, handle: int) -> None:
        self.real["fsync"](handle)
        places = [Path.cwd(), *Path.cwd().rglob("*")]
        (path,) = [path for path in places if os.path.samestat(path.stat(), os.fstat(handle))]
        if path.is_dir():
            self.note("sync names", path)
        else:
            self.see(path)
            self.note("sync", path, data=path.read_bytes())

    def see(self, path: Path) -> None:
        """Files in a directory that were made by calls that are not recorded."""
        for each in [path, *path.rglob("*")]:
            if each.is_file() and each.absolute() not in self.seen:
                self.note("make", each, data=each.read_bytes())

    def replace(self, source: Any, target: Any) -> None:
        self.see(Path(source))
        data = Path(source).read_bytes()
        self.real["replace"](source, target)
        self.note("rename", source, target, data)
        self.seen.add(Path(target).absolute())

    def rename(self, source: Any, target: Any) -> None:
        assert Path(source).is_dir(), "a file is renamed by replace()"
        self.see(Path(source))
        self.real["rename"](source, target)
        self.note("rename", source, target)
        self.seen.update(each.absolute() for each in Path(target).rglob("*"))

    def mkdir(self, path: Any, *args: Any) -> None:
        self.real["mkdir"](path, *args)
        self.note("mkdir", path)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self.real["unlink"](path, dir_fd=dir_fd)
        self.note("remove", path if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink() / path)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self.real["rmdir"](path, dir_fd=dir_fd)
        self.note("remove", path if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink() / path)


def disks(before: Disk, calls: list[tuple[str, Path, Path, bytes]]) -> Iterator[Disk]:
    """Every content that the disk may have if the power fails after these calls."""
    names = {path: number for number, path in enumerate(before)}
    """The paths that running processes see, with the number of each file; -1 for a directory."""
    names |= {parent: -1 for path in before for parent in path.parents}
    datas = dict(enumerate(before.values()))
    unsynced: set[int] = set()
    durable, pending = dict(names), list[dict[Path, int | None]]()
    """What is certainly on disk, and possible changes; None removes a name."""
    for call, path, target, data in calls:
        if call == "make":
            names[path] = number = len(datas)
            datas[number] = data
            unsynced.add(number)
            pending.append({path: number})
        elif call == "mkdir":
            names[path] = -1
            pending.append({path: -1})
        elif call == "remove":
            del names[path]
            pending.append({path: None})
        elif call == "rename":
            inside = [each for each in names if each == path or path in each.parents]  # of a directory, all in it
            moved = {target / each.relative_to(path): names.pop(each) for each in inside}
            names |= moved
            if moved[target] >= 0:
                datas[moved[target]] = data
            pending.append({**moved, **dict.fromkeys(inside)})
        elif call == "sync":
            datas[names[path]] = data
            unsynced.discard(names[path])
        else:  # the names in this directory are on the disk from now on
            certain = [change for change in pending if next(iter(change)).parent == path]
            pending = [change for change in pending if change not in certain]
            for change in certain:
                durable |= change
    for happened in product((False, True), repeat=len(pending)):
        found = dict(durable)
        for change, done in zip(pending, happened, strict=True):
            found |= change if done else {}
        made = {path for path, number in found.items() if number == -1}
        missing = {path for path, number in names.items() if number == -1} - made
        there = {path: n for path, n in found.items() if n is not None and n >= 0 and not missing & set(path.parents)}
        for part in (0, 0.5, 1) if unsynced & set(there.values()) else (1,):
            yield {
                path: datas[n][: int(len(datas[n]) * part)] if n in unsynced else datas[n] for path, n in there.items()
            }


def cut_everywhere(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], check: Callable[[Path, bool], object]
) -> int:
    """Run ``work`` in the current directory, then ``check`` every disk that a cut may leave, and if it was done."""
    root = Path.cwd()
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        recorder = Recorder(patch)
        work()
    count = 0
    for after in range(len(recorder.calls) + 1):
        for disk in disks(before, recorder.calls[:after]):
            count += 1
            with tempfile.TemporaryDirectory() as folder:
                for path, data in disk.items():
                    place = Path(folder) / path.relative_to(root)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(data)
                check(Path(folder), after == len(recorder.calls))
    return count


def put(path: Path, text: str, number: int) -> None:
    commit(path, lambda staged: staged.write_text(text), epoch=number, step=number, run_state={"text": text})


@pytest.mark.parametrize("name", ["best.bin", "new/and/deep/best.bin"])
def test_a_first_commit_is_missing_or_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every cut the path is missing or complete with its plugin state; after the commit it exists."""

    def check(root: Path, done: bool) -> None:
        if done or (root / name).exists():
            assert read(root / name).entry.run_state == {"text": (root / name).read_text()} == {"text": "new"}

    assert cut_everywhere(monkeypatch, lambda: put(Path(name), "new", 1), check) > 20


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_next_commit_leaves_the_old_or_the_new(interrupted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every cut the path is the old or the new with its plugin state, also if one commit was cut before."""
    path, seen = Path("best.bin"), set()
    put(path, "old", 1)
    if interrupted:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("trainbus.storage.local.LocalBackend.publish", interrupt)
            put(path, "cut", 2)

    def check(root: Path, done: bool) -> None:
        text = (root / path).read_text()
        assert text == "new" if done else text in ("old", "new")
        assert read(root / path).entry.run_state == {"text": text}
        seen.add(text)

    assert cut_everywhere(monkeypatch, lambda: put(path, "new", 3), check) > 20
    assert seen == {"old", "new"}


def put_models(text: str, number: int) -> None:
    """Commit a save of a training state and two models, one of them beside the other."""
    beside = [BesideWriter(lambda staged: staged.write_text(text), ".bin", name) for name in ("", "netG.bin")]
    commit(Path("netD.bin"), lambda staged: staged.write_text(text), beside=beside, epoch=number, step=number)


@pytest.mark.parametrize("first", [True, False])
def test_a_save_of_several_models_is_the_old_or_the_new_with_all_its_files(
    first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every cut all files are of one save, once the next run has given them their names; or there is none yet."""
    seen = set[str]()
    if not first:
        put_models("old", 1)

    def check(root: Path, done: bool) -> None:
        path = root / "netD.bin"
        if not path.exists():
            assert first
            assert not done
            return
        found = read(path)
        text = path.read_text()
        assert (found.step, found.state_path.read_text()) == ({"old": 1, "new": 2}[text], text)
        assert not done or text == "new"
        remove_debris(root, lambda _: True)
        assert (root / "netG.bin").read_text() == text
        assert read(path).step == found.step
        seen.add(text)

    assert cut_everywhere(monkeypatch, lambda: put_models("new", 2), check) > 20
    assert seen == ({"new"} if first else {"old", "new"})


def put_parts(path: Path, text: str, number: int) -> None:
    commit(path, lambda staged: fill(staged, text), directory=True, epoch=number, step=number, run_state={"text": text})


def check_parts(root: Path, done: bool, *, first: bool) -> str:
    """Return the checkpoint that best.parts's index names; its parts exist, are of one save, with its plugin state."""
    path = root / "best.parts"
    if not (path / "index").exists():
        assert first
        assert not done
        return ""
    (text,) = {(path / part).read_text() for part in (path / "index").read_text().split()}
    assert text == "new" if done else text in ("old", "new")
    assert read(path).entry.run_state == {"text": text}
    return text


@pytest.mark.parametrize("first", [True, False])
def test_a_directory_is_the_old_or_the_new_with_all_its_parts(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every cut its index names parts that exist, of one save, with its plugin state; or there is no index."""
    path, seen = Path("best.parts"), set[str]()
    if not first:
        put_parts(path, "old", 1)

    def check(root: Path, done: bool) -> None:
        seen.add(check_parts(root, done, first=first))

    assert cut_everywhere(monkeypatch, lambda: put_parts(path, "new", 2), check) > 20
    assert seen == {"new", "" if first else "old"}


@pytest.mark.parametrize("left_out", ["parts", "names"])
def test_the_model_finds_what_a_weaker_commit_of_a_directory_loses(
    left_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sync of the parts, or of the directories that have their names, some cut leaves what must not be."""
    put_parts(Path("best.parts"), "old", 1)
    skip = Path.is_file if left_out == "parts" else Path.is_dir

    def weaker() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("trainbus.storage.sharded_directory.sync", lambda place: None if skip(place) else sync(place))
            put_parts(Path("best.parts"), "new", 2)

    with pytest.raises((AssertionError, OSError, CheckpointError, ValueError)):
        cut_everywhere(monkeypatch, weaker, lambda root, done: check_parts(root, done, first=False))


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_of_two_files_the_earlier_stays_whatever_becomes_of_the_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a second file is committed, the newest intact one is the first or the second and never none."""
    put(Path("1.bin"), "one", 1)

    def check(root: Path, done: bool) -> None:
        newest, _ = newest_intact(root)
        assert newest is not None
        assert newest.step == 2 if done else newest.step in (1, 2)
        assert newest.entry.run_state == {"text": newest.path.read_text()}

    assert cut_everywhere(monkeypatch, lambda: put(Path("2.bin"), "two", 2), check) > 20


@pytest.mark.parametrize("left_out", ["file", "directory", "order"])
def test_the_model_finds_what_a_weaker_commit_loses(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sync of file or directory, or with the manifest last, some cut leaves what must not be."""
    path = Path("best.bin")
    put(path, "old", 1)

    def weaker() -> None:
        if left_out == "order":
            LocalBackend(path).replace("new")
            put(path, "new", 2)
            return
        skip = stat.S_ISREG if left_out == "file" else stat.S_ISDIR
        fsync = os.fsync
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda handle: None if skip(os.fstat(handle).st_mode) else fsync(handle))
            put(path, "new", 2)

    def check(root: Path, done: bool) -> None:
        assert read(root / path).entry.run_state == {"text": (root / path).read_text()}
        assert manifest_of(root / path).exists()
        assert not done or (root / path).read_text() == "new"

    with pytest.raises((AssertionError, OSError)):
        cut_everywhere(monkeypatch, weaker, check)
