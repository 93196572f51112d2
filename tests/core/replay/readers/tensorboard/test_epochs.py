"""The epochs of steps in event files."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay import read

from ...recorded import shown
from ...streams import curve, write

GUESSES = {
    "epochs": ({"loss": range(6), "val_loss": range(6)}, [0, 1, 2, 3, 4, 5], {}),
    "epochs from 1": ({"loss": range(1, 5)}, [0, 1, 2, 3], {"loss": [1, 2, 3, 4]}),
    "every second epoch": ({"loss": range(4), "val_loss": [1, 3]}, [0, 1, 2, 3], {"val_loss": [1, 3]}),
    "batches": ({"loss": range(400), "val_loss": range(99, 400, 100)}, [0, 1, 2, 3], {"loss": [99, 199, 299, 399]}),
    "every 50th batch": ({"loss": range(0, 500, 50), "val_loss": [99, 199, 299]}, [0, 1, 2], {"loss": [50, 150, 250]}),
    "a value every 100 steps": ({"loss": range(100, 500, 100)}, [0, 1, 2, 3], {"loss": [100, 200, 300, 400]}),
    "two counters": ({"loss": range(3000), "val_loss": range(3)}, [0, 1, 2], {"val_loss": [0, 1, 2]}),
    "one epoch": ({"loss": [0], "val_loss": [0]}, [0], {}),
}  # fmt: skip


@pytest.mark.parametrize("case", GUESSES)
def test_the_meaning_of_steps_is_guessed_and_noted(case: str, tmp_path: Path):
    """Without epochs in the file, the steps of the validation determine them, and a note names the assumption."""
    series, epochs, expected = GUESSES[case]
    write(tmp_path / "events.out.tfevents.1", [record for tag, steps in series.items() for record in curve(tag, steps)])
    found = read(tmp_path)

    assert found.epochs.tolist() == epochs
    assert {name: shown(found)[name] for name in expected} == expected
    assert any("read as" in note or "Records come every 100 steps" in note for note in found.notes)
    assert (found.unit == "step") is (case == "a value every 100 steps")


@given(epochs=st.integers(1, 5), steps=st.integers(1, 40), first=st.integers(0, 1), every=st.integers(1, 7))
def test_the_steps_of_an_epoch_can_be_given(epochs: int, steps: int, first: int, every: int):
    """Each epoch has the last value that was written in it, whether its steps count from 0 or from 1."""
    logged = [step for step in range(first, first + epochs * steps) if (step + 1 - first) % min(every, steps) == 0]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "events.out.tfevents.1"), curve("loss", [*logged, first + epochs * steps - 1]))
        found = read(folder, steps_per_epoch=steps)

    last = {(step - first) // steps: float(step) for step in [*logged, first + epochs * steps - 1]}
    assert dict(zip(found.epochs.tolist(), found.metrics["loss"].values.tolist(), strict=True)) == last


def test_an_epoch_has_steps(tmp_path: Path):
    """A number below 1 is refused."""
    write(tmp_path / "events.out.tfevents.1", curve("loss", range(4)))
    with pytest.raises(SettingsError, match="steps_per_epoch=0: give a number of at least 1"):
        read(tmp_path, steps_per_epoch=0)


def test_several_evaluations_in_an_epoch_are_rows(tmp_path: Path):
    """As with Hugging Face, whose patience counts evaluations: a series says in which epoch a step is."""
    series = {"train/epoch": range(10, 50, 10), "eval/loss": range(10, 50, 10), "train/loss": range(5, 50, 5)}
    records = [record for tag, steps in series.items() for record in curve(tag, steps)]
    epochs = [number for step in range(10, 50, 10) for number in curve("train/epoch", [step], step / 20 - step)]
    write(tmp_path / "events.out.tfevents.1", [*epochs, *records[4:]])
    found = read(tmp_path)

    assert (found.unit, found.epochs.tolist()) == ("evaluation", [0, 1, 2, 3])
    assert found.steps is not None
    assert found.steps.tolist() == [10, 20, 30, 40]
    assert shown(found) == {"val_loss": [10, 20, 30, 40], "loss": [10, 20, 30, 40]}
