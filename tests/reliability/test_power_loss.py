"""A power cut at any moment of a commit leaves the old or the new checkpoint, and takes back none that was finished.

Model: what was not synced may be lost. A file whose content was not synced may be empty, half there or whole; each name
that was made, renamed or removed since its directory was synced may be so or not, in any combination.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from trainbus.storage.checkpoints import commit, manifest_of, newest_intact, read
from trainbus.storage.files import publish, stage, sync

Disk = dict[Path, bytes]


class Recorder:
    """Notes which calls to the file system decide what a power cut leaves behind, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Path, Path, bytes]] = []
        self.real: dict[str, Callable[..., Any]] = {}
        for name in ("fsync", "replace", "mkdir", "unlink"):
            self.real[name] = getattr(os, name)
            monkeypatch.setattr(os, name, getattr(self, name))
        self.real["mkstemp"] = tempfile.mkstemp
        monkeypatch.setattr(tempfile, "mkstemp", self.mkstemp)

    def note(self, call: str, path: Any, target: Any = "", data: bytes = b"") -> None:
        self.calls.append((call, Path(path).absolute(), Path(target).absolute(), data))

    def mkstemp(self, *args: Any, **options: Any) -> tuple[int, str]:
        handle, name = self.real["mkstemp"](*args, **options)
        self.note("make", name)
        return handle, name

    def fsync(self, handle: int) -> None:
        self.real["fsync"](handle)
        places = [Path.cwd(), *Path.cwd().rglob("*")]
        (path,) = [path for path in places if os.path.samestat(path.stat(), os.fstat(handle))]
        self.note("sync", path, data=b"" if path.is_dir() else path.read_bytes())

    def replace(self, source: Any, target: Any) -> None:
        data = Path(source).read_bytes()
        self.real["replace"](source, target)
        self.note("rename", source, target, data)

    def mkdir(self, path: Any, *args: Any) -> None:
        self.real["mkdir"](path, *args)
        self.note("mkdir", path)

    def unlink(self, path: Any) -> None:
        self.real["unlink"](path)
        self.note("remove", path)


def disks(before: Disk, calls: list[tuple[str, Path, Path, bytes]]) -> Iterator[Disk]:
    """Every content that the disk may have if the power fails after these calls."""
    names = {path: number for number, path in enumerate(before)}
    """As they are for the processes that run: path to the number of its file; -1 for a directory."""
    datas = dict(enumerate(before.values()))
    unsynced: set[int] = set()
    durable, pending = dict(names), list[dict[Path, int | None]]()
    """What is certainly on the disk, and changes to it that may be; None removes a name."""
    for call, path, target, data in calls:
        if call == "make":
            names[path] = number = len(datas)
            datas[number] = b""
            unsynced.add(number)
            pending.append({path: number})
        elif call == "mkdir":
            names[path] = -1
            pending.append({path: -1})
        elif call == "remove":
            del names[path]
            pending.append({path: None})
        elif call == "rename":
            names[target] = number = names.pop(path)
            datas[number] = data
            pending.append({path: None, target: number})
        elif names.get(path, -1) >= 0:
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
    """Do `work` in the present directory, then `check` every disk that a cut may leave, and whether work was done."""
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
    commit(path, lambda staged: staged.write_text(text), epoch=number, step=number, memory={"text": text})


@pytest.mark.parametrize("name", ["best.bin", "new/and/deep/best.bin"])
def test_a_first_commit_is_nothing_or_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every cut the path is missing or whole with its memory; from the end of the commit on it is there."""

    def check(root: Path, done: bool) -> None:
        if done or (root / name).exists():
            assert read(root / name).content.memory == {"text": (root / name).read_text()} == {"text": "new"}

    assert cut_everywhere(monkeypatch, lambda: put(Path(name), "new", 1), check) > 20


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_next_commit_leaves_the_old_or_the_new(interrupted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every cut the path is the old or the new with its own memory, also where one commit was cut before."""
    path, seen = Path("best.bin"), set()
    put(path, "old", 1)
    if interrupted:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("trainbus.storage.local.publish", interrupt)
            put(path, "cut", 2)

    def check(root: Path, done: bool) -> None:
        text = (root / path).read_text()
        assert text == "new" if done else text in ("old", "new")
        assert read(root / path).content.memory == {"text": text}
        seen.add(text)

    assert cut_everywhere(monkeypatch, lambda: put(path, "new", 3), check) > 20
    assert seen == {"old", "new"}


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_of_two_files_the_earlier_stays_whatever_becomes_of_the_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a second file is committed, the newest intact one is the first or the second and never none."""
    put(Path("1.bin"), "one", 1)

    def check(root: Path, done: bool) -> None:
        newest, _ = newest_intact(root)
        assert newest is not None
        assert newest.step == 2 if done else newest.step in (1, 2)
        assert newest.content.memory == {"text": newest.path.read_text()}

    assert cut_everywhere(monkeypatch, lambda: put(Path("2.bin"), "two", 2), check) > 20


@pytest.mark.parametrize("left_out", ["file", "directory", "order"])
def test_the_model_finds_what_a_weaker_commit_loses(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sync of file or directory, or with the manifest last, some cut leaves what must not be."""
    path = Path("best.bin")
    put(path, "old", 1)

    def weaker() -> None:
        if left_out == "order":
            publish(stage(path, lambda staged: staged.write_text("new")), path)
            put(path, "new", 2)
            return
        skip = Path.is_file if left_out == "file" else Path.is_dir
        with monkeypatch.context() as patch:
            patch.setattr("trainbus.storage.files.sync", lambda place: None if skip(place) else sync(place))
            put(path, "new", 2)

    def check(root: Path, done: bool) -> None:
        assert read(root / path).content.memory == {"text": (root / path).read_text()}
        assert manifest_of(root / path).exists()
        assert not done or (root / path).read_text() == "new"

    with pytest.raises((AssertionError, OSError)):
        cut_everywhere(monkeypatch, weaker, check)
