"""Damaged logs are read as far as they go, or refused."""

import random
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read_all

SAMPLES = sorted(
    file
    for folder in (Path(__file__).parent / "data", Path(__file__).parents[1] / "data")
    for file in folder.rglob("*")
    if file.is_file() and file.suffix != ".py"
)
TOKENS = [
    b"nan",
    b"-1e999",
    b"{",
    b"]",
    b",",
    b"\n",
    b"\0",
    b"\xff",
    b'"epoch"',
    b"99999999999999999999",
    b"step:",
    b"null",
]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return the data with a few places changed, removed, repeated or added to."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place, kind = chance.randrange(len(found) + 1), chance.random()
        if kind < 0.4:
            found[place:place] = chance.choice(TOKENS)
        elif kind < 0.7:
            del found[place : place + chance.randint(1, 40)]
        elif kind < 0.85:
            found[place : place + 1] = bytes([chance.randrange(256)])
        else:
            found[place:place] = found[chance.randrange(len(found) + 1) :][:200]
    return bytes(found)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(1, 40))])
def test_a_damaged_log_is_read_or_refused(seed: int, tmp_path: Path) -> None:
    """Rows rise, every metric has a value for each row, errors have one line, and no reader fails."""
    chance = random.Random(seed)
    for sample in chance.choices(SAMPLES, k=300):
        path = tmp_path / (sample.name if "tfevents" in sample.name else chance.choice([sample.name, "x.log"]))
        path.write_bytes(damaged(sample.read_bytes(), chance))
        errors: list[SettingsError] = []
        for place in (path, tmp_path):
            try:
                runs = read_all(place, unread=errors.append)
            except SettingsError as error:
                errors.append(error)
                continue
            for run in runs:
                assert (run.epochs[1:] > run.epochs[:-1]).all()
                assert run.steps is None or (run.steps[1:] >= run.steps[:-1]).all()
                assert {len(values) for values, _ in run.metrics.values()} == {len(run.epochs)}
        assert not [error for error in errors if "failed:" in str(error) or "\n" in str(error)]
        path.unlink()
