"""Recordings of one run are one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainbus.replay import Recording
from trainbus.replay.loading.same_run import Located, each_run_once
from trainbus.replay.objective import Objective

from ..recorded import History, recording

CURVE = [3.0, 2.5, 2.0, 1.9, 1.8, 1.75, 1.7, 1.72]


def located(place: str, form: str, curve: History = CURVE, *, every: int = 1, file: str = "log") -> Located:
    """Return a recording in a directory, of a file of this format that has each so many-th value."""
    return Located(Path(), (Path(place, file),), replace(recording(curve[every - 1 :: every], place), format=form))


def kept(*found: Located) -> list[Recording]:
    """Return the runs that are left."""
    return [each.recording for each in each_run_once(found)]


def test_a_run_in_two_formats_is_one() -> None:
    """Wherever it lies; a note names what is left out."""
    (run,) = kept(located("a/logs", "event files"), located("b", "CSV"))
    assert run.name == "a/logs"
    assert run.notes == ("'b' (CSV) records the same run and is left out.",)


def test_another_axis_or_precision_does_not_matter() -> None:
    """A file may count evaluations, and the other one epochs; event files are in single precision."""
    single = [float(np.float32(value / 3)) for value in CURVE]
    other = replace(located("a", "B", single).recording, unit="iteration", steps=np.arange(8) * 50)
    assert len(kept(located("a", "A", [value / 3 for value in CURVE]), Located(Path(), (Path("a/b"),), other))) == 1


@pytest.mark.parametrize("place", ["a", "a/b", ".", "c"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_file_with_fewer_moments_is_of_the_same_run_if_it_lies_beside(place: str, *, turned: bool) -> None:
    """With the last value of each epoch, for example; in another directory it may be another run."""
    both = [located("a", "A"), located(place, "B", every=2)]
    assert len(kept(*(reversed(both) if turned else both))) == (2 if place == "c" else 1)


def test_other_curves_are_other_runs() -> None:
    """Also beside each other, of two formats, with the same beginning and end."""
    other = [3.0, 2.6, 2.1, 1.95, 1.85, 1.76, 1.71, 1.72]
    assert len(kept(located("a", "A"), located("a", "B", other))) == 2
    assert len(kept(located("a", "A", [1.0]), located("b", "B", [1.0]))) == 2


def test_files_of_one_format_are_runs_of_their_own_unless_they_are_copies() -> None:
    """As the two files of numbers that MMEngine writes; runs of the same seed in other directories are several."""
    assert len(kept(located("a", "A"), located("a", "A", file="copy"))) == 1
    assert len(kept(located("a", "A"), located("a", "A"))) == 2
    assert len(kept(located("a", "A"), located("b", "A"))) == 2
    assert len(kept(located("a", "A"), located("a", "A", every=2))) == 2
    assert len(kept(located("a", "A", [1.0, 2.0]), located("a", "A", [1.0, 2.0]))) == 2


def test_what_only_one_file_says_about_the_run_is_kept():
    """The objective and the settings in the file that is left out are those of the run."""
    first, second = located("a", "event files"), located("a", "trainer state")
    judged = replace(second.recording, objective=Objective("val_loss", "min"), settings={"lr": 0.1})
    (found,) = each_run_once([first, second._replace(recording=judged)])

    assert found.recording.format == "event files"
    assert found.recording.objective == Objective("val_loss", "min")
    assert found.recording.settings == {"lr": 0.1}


def test_runs_that_differ_in_one_metric_are_two():
    """Two runs with one seed have the same training loss, however different their validations are."""
    runs = [
        located(form, form)._replace(
            recording=replace(recording({"loss": CURVE, "val_loss": curve}, form), format=form)
        )
        for form, curve in (("a", CURVE), ("b", [2 * value for value in CURVE]))
    ]
    assert len(each_run_once(runs)) == 2


def test_of_two_files_the_one_that_goes_on_is_kept():
    """The state in a checkpoint ends before the run does."""
    short, long = located("out/checkpoint-4", "A", CURVE[:6]), located("out/runs/x", "B")
    for files in ((short, long), (long, short)):
        (run,) = kept(*files)
        assert len(run.epochs) == len(CURVE)
