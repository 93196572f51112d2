"""What is written for the saves of one decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from trainbus import CheckpointError
from trainbus.capabilities import PartWriters
from trainbus.checkpoints.beside.writers import FileWriters, default_suffix
from trainbus.decision import Save
from trainbus.testing import LineSubject


class Counting(LineSubject):
    """A line whose slope and offset are two models; it counts how often its state was copied."""

    copies = 0

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        return self.part_writers(weights_only=weights_only, background=True).whole

    def part_names(self) -> Sequence[str]:
        return ("slope", "offset")

    def part_writers(self, *, weights_only: bool, background: bool) -> PartWriters:
        self.copies += 1
        copy = LineSubject(self.learning_rate)
        copy.restore(self.snapshot())
        parts = {"slope": copy.content_writer({"a": copy.slope}), "offset": copy.content_writer({"a": copy.offset})}
        return PartWriters(lambda path: copy.save(path, weights_only=weights_only), parts)


PARTS = {"slope": "s.npz", "offset": "o.npz"}


@pytest.mark.parametrize("background", [False, True])
def test_the_state_is_copied_once_for_all_files(background: bool) -> None:
    """For the files of each model, for the whole, and for a snapshot."""
    subject = Counting()
    writers = FileWriters(subject, {}, background=background)
    for path in ("run/s.npz", "run/o.npz"):
        write, beside = writers.of(Path(path), [Save(path, parts=PARTS)], weights_only=False)
        assert [each.name for each in beside] == ["", "o.npz" if path == "run/s.npz" else "s.npz"]
        write(Path("file.npz"))
        assert np.load("file.npz").files == ["a"]
    writers.state(weights_only=False)(Path("file.npz"))
    assert "slope" in np.load("file.npz").files
    assert subject.copies == 1
    writers.state(weights_only=True)
    assert subject.copies == (2 if background else 1)


def test_one_file_holds_the_state_and_has_none_beside_it() -> None:
    """As does a file of weights; the user's own content has the state beside it."""
    writers = FileWriters(LineSubject(), {"Own": lambda: {"net": 1.0}}, background=False)
    assert writers.of(Path("m.npz"), [Save("m.npz")], weights_only=True)[1] == ()
    write, (state,) = writers.of(Path("m.npz"), [Save("m.npz", by="Own")], weights_only=False)
    write(Path("m.npz"))
    assert (np.load("m.npz").files, state.suffix, state.name) == (["net"], ".npz", "")
    assert default_suffix(LineSubject(), weights_only=True) == ".npz"


@pytest.mark.parametrize(
    ("subject", "parts", "why"),
    [
        (LineSubject(), PARTS, "'LineSubject' has no models that have a file each"),
        (Counting(), {"slope": "s.npz"}, "a file of each of slope was asked for; the models are slope, offset"),
        (Counting(), {"slope": "s.npz", "bias": "b.npz"}, "the models are slope, offset"),
        (Counting(), {"slope": "x.npz", "offset": "o.npz"}, "a file of each of slope, offset was asked for"),
    ],
)
def test_models_that_are_not_those_of_the_subject_are_refused(
    subject: LineSubject, parts: dict[str, str], why: str
) -> None:
    """A loop, or a saved decision, may ask for others."""
    with pytest.raises(CheckpointError, match=why):
        FileWriters(subject, {}, background=False).of(Path("s.npz"), [Save("s.npz", parts=parts)], weights_only=False)
