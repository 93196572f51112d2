"""The laws of manifests: what is damaged or of another format is never used."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError
from trainbus.checkpoints import manifest_of, newest_intact, read
from trainbus.checkpoints.manifest import entries_before_write, entries_of

from .committing import put


@given(st.data())
def test_no_flipped_bit_of_a_manifest_changes_a_run_state(data) -> None:
    """A manifest that differs in any bit counts as missing, whatever the bit means."""
    path = Path("best.bin")
    put(path, "new", 1234567)
    manifest = manifest_of(path)
    flipped = bytearray(manifest.read_bytes())
    position = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[position // 8] ^= 1 << position % 8
    manifest.write_bytes(flipped)

    with pytest.raises(CheckpointError, match="manifest"):
        read(path)


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"format": 3, "entries": []}', '{"entries": [{"digest": 1}]}'])
def test_a_damaged_manifest_is_no_checkpoint(spoilt: str) -> None:
    """A manifest that is empty, torn, foreign or of a later format is never used."""
    path = Path("best.bin")
    put(path, "new", 1)
    manifest_of(path).write_text(spoilt)

    with pytest.raises(CheckpointError, match="manifest"):
        read(path)
    put(path, "next", 2)
    assert read(path).entry.run_state == {"text": "next"}


def test_a_manifest_of_another_format_is_refused_by_its_number() -> None:
    """One line names both formats, the payload is skipped, and the next save replaces it."""
    path = Path("best.bin")
    put(path, "old", 1)
    text = manifest_of(path).read_text().replace('"format":3', '"format":1')
    text = text[:11] + text[75:]
    manifest_of(path).write_text(text[:11] + hashlib.sha256(text.encode()).hexdigest() + text[11:])

    problem = "its manifest 'trainbus.best.bin.json' is of format 1, and this version of trainbus reads format 3"
    with pytest.raises(CheckpointError, match=f"{problem}; load the file with its framework and start a new run"):
        read(path)
    newest, (skipped,) = newest_intact(Path())
    assert newest is None
    assert skipped.flaw == problem
    put(path, "next", 2)
    assert read(path).entry.run_state == {"text": "next"}


@given(st.lists(st.sampled_from(["a.bin", "b.bin", "c.bin"]), min_size=1, max_size=12))
def test_the_entries_before_a_write_are_those_on_the_disk(written: list[str]) -> None:
    """However many manifests this process has written since, and whoever has replaced one."""
    for step, name in enumerate(written):
        put(Path(name), f"content {step}", step)
    for path in map(Path, set(written)):
        assert [each.text for each in entries_before_write(path)] == [each.text for each in entries_of(path)]
    first, last = Path(written[0]), Path("d.bin")
    put(last, "replaces", 99)
    manifest_of(first).write_bytes(manifest_of(last).read_bytes())

    assert [each.step for each in entries_before_write(first)] == [99]
    manifest_of(first).write_bytes(b"damaged")
    assert entries_before_write(first) == []
