"""Every backend does the same, and what is found at a location does not depend on its kind."""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.storage import file_kind
from trainbus.storage.atomic_file import fill, write_bytes
from trainbus.storage.backend import backend_for, digest_at, existing
from trainbus.storage.local import LocalBackend
from trainbus.storage.paths import Location, location
from trainbus.storage.sharded_directory import digest_of_parts, parts_in

from . import parts
from .stores import STORES, new_directory

NAMES = ("a.pt", "b[1].pt", "a.pt.json")


def result(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, or the class of its error."""
    try:
        return work()
    except OSError as error:
        return type(error)


def put(path: Location, data: bytes) -> None:
    backend = backend_for(path)
    staged = backend.new_file()
    assert fill(staged, lambda staged: write_bytes(staged, data)) == hashlib.sha256(data).hexdigest()
    backend.publish(staged)


def looked_at(path: Location) -> tuple[Any, ...]:
    backend = backend_for(path)
    with backend.open() as opened:
        data = opened.file.read()
        same = opened.replaced()
        backend.replace("another")
        changed = opened.replaced()
    with backend.as_local_file() as file:
        copied = file.read_bytes()
    return data, same, changed, copied


OPERATIONS: dict[str, Callable[[Location, str], Any]] = {
    "put": lambda path, text: put(path, text.encode()),
    "replace": lambda path, text: backend_for(path).replace(text),
    "read": lambda path, _: backend_for(path).read(),
    "size": lambda path, _: backend_for(path).size(),
    "remove": lambda path, _: backend_for(path).remove(),
    "link": lambda path, _: backend_for(path).hard_link("linked.pt"),
    "rename": lambda path, _: backend_for(path).rename("linked.pt"),
    "list": lambda path, _: sorted(backend_for(path.parent).list_names()),
    "below": lambda path, _: sorted(each.name for each in backend_for(path.parent).files_below()),
    "nested": lambda path, text: backend_for(path.parent / "in" / path.name).replace(text),
    "glob": lambda path, _: sorted(each.name for each in backend_for(path.with_name("*.pt")).glob()),
    "open": lambda path, _: looked_at(path),
    "directory": lambda path, _: (backend_for(path).is_directory(), backend_for(path.parent).is_directory()),
    "digest": lambda path, _: digest_at(path),
    "existing": lambda path, _: [each.name for each in existing(map(path.with_name, NAMES))],
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(NAMES), st.text(max_size=9)), max_size=9)
)
def test_a_store_answers_as_a_disk_does(steps: list[tuple[str, str, str]]) -> None:
    """Any sequence of operations has the same results and the same kinds of errors."""
    directories = [location(Path(os.urandom(8).hex()).absolute()), new_directory("memory")]
    for directory in directories:
        backend_for(directory / "first.pt").replace("first")
    for operation, name, text in steps:
        if operation in ("link", "rename") and any(backend_for(each / name).size() is None for each in directories):
            continue
        work = OPERATIONS[operation]
        local, remote = (result(partial(work, each / name, text)) for each in directories)
        assert local == remote, operation


@pytest.mark.parametrize("store", [each for each in STORES if each in ("memory", "disk")])
def test_a_url_has_a_backend_of_its_store(store: str) -> None:
    """A path is on this machine; operations on a URL may take long."""
    assert isinstance(backend_for(Path("a")), LocalBackend)
    assert backend_for(Path("a")).is_local
    assert not backend_for(new_directory(store)).is_local


def test_an_unknown_store_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no file system for memry://.*'memory'"):
        backend_for(location("memry://a/b"))


def test_what_exists_is_found_with_one_look_at_each_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing directory has no files; one that cannot be listed may have all of them."""
    for name in ("a/1.pt", "a/2.pt", "b/1.pt", "closed/1.pt"):
        LocalBackend(Path(name)).replace("")
    Path("file").touch()
    listed, real = list[Path](), LocalBackend.list_names

    def list_names(self: LocalBackend) -> list[str]:
        listed.append(self.path)
        if self.path.name == "closed":
            raise PermissionError(self.path)
        return real(self)

    monkeypatch.setattr(LocalBackend, "list_names", list_names)
    wanted = [Path(each) for each in ("a/1.pt", "none/1.pt", "a/3.pt", "file/1.pt", "closed/9.pt", "b/1.pt", "a/2.pt")]

    assert existing(wanted) == [Path(each) for each in ("a/1.pt", "closed/9.pt", "b/1.pt", "a/2.pt")]
    assert sorted(map(str, listed)) == ["a", "b", "closed", "file", "none"]


def test_the_digest_of_a_directory_is_that_of_its_parts() -> None:
    for name in ("one", "two"):
        Path(name).mkdir()
        parts.fill(Path(name), name)

    assert digest_at(Path("one")) == digest_of_parts(parts_in(Path("one"))) != digest_at(Path("two"))


@pytest.mark.parametrize("kind", ["local", "memory", "disk"])
@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
def test_a_manifest_beyond_the_limit_is_refused_unread(
    kind: str, more: int, *, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this machine and in a store: exactly as many bytes as the limit are read, one more is not."""
    monkeypatch.setattr(file_kind, "MANIFEST_BYTES", 100)
    path = tmp_path / "trainbus.best.pt.json" if kind == "local" else new_directory(kind) / "trainbus.best.pt.json"
    put(path, b"x" * (100 + more))

    if refused:
        with pytest.raises(OSError, match="it has 101 bytes; at most 100 are read"):
            backend_for(path).read()
    else:
        assert backend_for(path).read() == b"x" * 100
