"""A file whose bytes changed on disk is never loaded as a checkpoint."""

import random
from pathlib import Path

import pytest

from trainbus import CheckpointError, Run
from trainbus.checkpoints import commit, manifest_of, newest_intact, read
from trainbus.decision import restore

from .subjects import Kind, number_in


def put(kind: Kind, path: Path, number: int) -> None:
    kind.carry(number)
    commit(path, kind.save, epoch=number, step=number)


@pytest.mark.parametrize("flips", [20, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_a_flipped_bit_anywhere_is_found(kind: Kind, flips: int) -> None:
    """One flipped bit at random places: the file is always named, and the previous checkpoint is used."""
    old, new = Path(f"1{kind.suffix}"), Path(f"2{kind.suffix}")
    put(kind, old, 1)
    put(kind, new, 2)
    intact = new.read_bytes()
    for place in random.Random(0).sample(range(8 * len(intact)), flips):
        flipped = bytearray(intact)
        flipped[place // 8] ^= 1 << place % 8
        new.write_bytes(flipped)

        found, passed_over = newest_intact(Path())
        assert found is not None
        assert (found.path, found.epoch, number_in(kind, found.path)) == (old, 1, 1)
        assert [(each.path, each.flaw) for each in passed_over] == [
            (new, "damaged: its bytes are not those that were written")
        ]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "damaged"),
        (Path.unlink, "missing"),
        (lambda path: (path.unlink(), path.mkdir()), "missing"),
        (lambda path: manifest_of(path).write_bytes(manifest_of(path).read_bytes()[:-9]), "manifest"),
        (lambda path: manifest_of(path).write_text(manifest_of(path).read_text().replace("2", "3")), "manifest"),
        (lambda path: manifest_of(path).unlink(), "manifest"),
    ],
    ids=["short", "half", "empty", "long", "missing", "directory", "torn manifest", "edited manifest", "no manifest"],
)
def test_any_damage_is_named_and_the_checkpoint_before_it_found(kind: Kind, spoil, sentence: str) -> None:
    """Truncated, empty, longer, missing, without its manifest or with another: named, and not restored."""
    old, new = Path(f"1{kind.suffix}"), Path(f"2{kind.suffix}")
    put(kind, old, 1)
    put(kind, new, 2)
    spoil(new)

    found, passed_over = newest_intact(Path())

    assert found is not None
    assert found.path == old
    (flaw,) = [each.flaw for each in passed_over if each.path == new]
    assert sentence in flaw
    with pytest.raises(CheckpointError, match=new.name):
        read(new)


def test_a_damaged_file_is_not_restored(kind: Kind) -> None:
    """A run that is to restore it raises, and the weights are unchanged."""
    path = Path(f"best{kind.suffix}")
    put(kind, path, 1)
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 2] ^= 4
    path.write_bytes(spoilt)
    kind.carry(7)

    with Run(kind.subject, verbose=0) as run, pytest.raises(CheckpointError, match="damaged"):
        run.decide(restore(str(path)))
    put(kind, Path(f"after{kind.suffix}"), 7)
    assert number_in(kind, Path(f"after{kind.suffix}")) == 7
