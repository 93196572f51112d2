"""A subject that is saved or copied is restored as it was, or not changed at all."""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import get_protocol_members

from trainbus import UnreadableCheckpoint
from trainbus.capabilities import (
    BackgroundSaveable,
    Restorable,
    Saveable,
    SavesContent,
    SavesSomeInBackground,
    Snapshotable,
    SnapshotsMore,
    has,
    missing,
    saves_in_background,
)
from trainbus.testing import LineSubject

from .declared import assert_takes_declared_arguments, implementers, with_methods

METHODS = {
    Saveable: {"suffixes", "save"},
    BackgroundSaveable: {"snapshot_writer"},
    SavesContent: {"content_writer"},
    SavesSomeInBackground: {"saves_in_background"},
    SnapshotsMore: {"left_out_of_weights"},
    Restorable: {"load"},
    Snapshotable: {"snapshot", "restore"},
}
"""Each capability and its methods."""

finite = st.floats(allow_nan=False)


def line(slope: float, offset: float, rate: float) -> LineSubject:
    subject = LineSubject(rate)
    subject.slope, subject.offset = np.array(slope), np.array(offset)
    return subject


def state(subject: LineSubject) -> tuple[float, float, float]:
    return float(subject.slope), float(subject.offset), subject.learning_rate


@pytest.mark.parametrize("capability", METHODS)
def test_a_capability_needs_all_of_its_methods(capability: type) -> None:
    """The message names those that are missing, in a fixed order."""
    members = sorted(METHODS[capability])
    assert get_protocol_members(capability) == set(members)
    for count in range(len(members) + 1):
        for present in itertools.combinations(members, count):
            absent = [f"{name}()" for name in members if name not in present]
            expected = f"'Partial' has no {' and '.join(absent)}" if absent else None
            assert missing(with_methods(*present), capability) == expected


@pytest.mark.parametrize(("capability", "kind"), [(each, kind) for each in METHODS for kind in implementers(each)])
def test_subjects_take_the_declared_arguments(capability: type, kind: type) -> None:
    """Which ``isinstance`` does not compare."""
    assert_takes_declared_arguments(kind, capability)


@given(finite, finite, st.floats(0, 9), st.booleans())
def test_a_file_restores_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, slope: float, offset: float, rate: float, weights_only: bool
) -> None:
    """All of it, or only the weights; ``save`` returns the SHA-256 digest of the file."""
    saved, loaded = line(slope, offset, rate), LineSubject(0.25)
    path = tmp_path_factory.mktemp("saved") / f"line{saved.suffixes(weights_only=weights_only)[0]}"
    assert saved.save(path, weights_only=weights_only) == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded.load(path)
    assert state(loaded) == (slope, offset, 0.25 if weights_only else rate)
    assert state(saved) == (slope, offset, rate)


@given(st.data())
def test_an_unreadable_file_changes_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file that was cut off at any length is refused with the error that lets a resume try an older one."""
    path = tmp_path_factory.mktemp("damaged") / "line.npz"
    line(3.0, 4.0, 0.125).save(path, weights_only=False)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    subject = line(1.0, 2.0, 0.5)
    with pytest.raises(UnreadableCheckpoint, match=r"line\.npz"):
        subject.load(path)
    assert state(subject) == (1.0, 2.0, 0.5)


@given(finite, finite, st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=3))
def test_a_snapshot_is_not_changed_by_training(slope: float, offset: float, points: list[tuple[float, float]]) -> None:
    """It can be restored twice, into the same subject, with training in between."""
    subject = line(slope, offset, 0.5)
    snapshot = subject.snapshot()
    for _ in range(2):
        with np.errstate(all="ignore"):
            subject.train(*map(np.array, zip(*points, strict=True)))
        subject.restore(snapshot)
        assert state(subject)[:2] == (slope, offset)


@given(st.sets(st.sampled_from([".pt", ".npz", ".safetensors"])), st.sampled_from([".pt", ".npz", ".safetensors"]))
def test_a_subject_may_save_only_some_formats_in_the_background(supported: set[str], suffix: str) -> None:
    """One that does not say which saves all of them."""

    class Some(LineSubject):
        def saves_in_background(self, name: str) -> bool:
            return Path(name).suffix in supported

    assert saves_in_background(Some(), f"best{suffix}") == (suffix in supported)
    assert not has(LineSubject(), SavesSomeInBackground)
    assert saves_in_background(LineSubject(), f"best{suffix}")


class InBackground(LineSubject):
    """It can be saved while it trains."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        copied = LineSubject()
        copied.restore(self.snapshot())
        return lambda path: copied.save(path, weights_only=weights_only)

    def save(self, path: Path, *, weights_only: bool) -> object:
        return super().save(path, weights_only=weights_only)


class SavesItself(InBackground):
    """Its save does more than that of its base."""

    def save(self, path: Path, *, weights_only: bool) -> object:
        return super().save(path, weights_only=weights_only)


class SavesBoth(SavesItself):
    """It says how to do this in the background, too."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        return super().snapshot_writer(weights_only=weights_only)


class Mixin:
    """A save of its own, to be mixed in."""

    def save(self, path: Path, *, weights_only: bool) -> object:
        raise NotImplementedError


class Mixed(Mixin, InBackground):  # type: ignore[misc]
    """It gets its save from another base."""


class Further(SavesItself):
    """It inherits the save."""


class SavesAgain(SavesBoth):
    """It overrides both, then save once more."""

    def save(self, path: Path, *, weights_only: bool) -> object:
        return super().save(path, weights_only=weights_only)


@pytest.mark.parametrize(
    ("kind", "works"),
    [
        (InBackground, True),
        (SavesItself, False),
        (Further, False),
        (Mixed, False),
        (SavesBoth, True),
        (SavesAgain, False),
    ],
)
def test_a_save_that_a_subclass_overrides_is_not_passed_over_in_the_background(kind: Any, works: bool) -> None:
    """The writer of its base would write something else, so that such a subject is saved by its own save."""
    why = missing(kind(), BackgroundSaveable)

    assert (why is None) == works
    if why is not None:
        assert "overrides save() but not snapshot_writer()" in why


def test_a_save_of_the_instance_counts_as_overridden() -> None:
    """Also one that was put into the object."""
    subject = InBackground()
    subject.save = lambda path, *, weights_only: None  # type: ignore[method-assign]

    assert "overrides save()" in (missing(subject, BackgroundSaveable) or "")
