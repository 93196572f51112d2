"""A run for a model is made with the adapter for its type."""

from typing import Any

import pytest
import torch
from sklearn.linear_model import SGDClassifier

import trainbus
from trainbus.testing import LineSubject


def test_watch_takes_subjects_and_refuses_other_objects_with_arguments() -> None:
    """A subject is taken as it is; with further arguments it is refused."""
    subject = LineSubject()

    assert trainbus.watch(subject).subject is subject
    with pytest.raises(trainbus.SettingsError, match="watch takes only model by position, but 2 were given"):
        trainbus.watch(subject, object())


@pytest.mark.parametrize("verbose", [0, 2, None])
def test_watch_gives_the_run_its_options(verbose: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of ``Run`` are not the adapter's."""
    with trainbus.watch(LineSubject(), verbose=verbose, signals=(), resume=None, resume_strict=True) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)
    assert capsys.readouterr().out.count("Epoch ") == (2 if verbose else 0)


def test_watch_refuses_misspelt_options_of_the_adapter() -> None:
    """An option that the adapter does not take is refused with the nearest that it takes."""
    with pytest.raises(trainbus.SettingsError, match=r"watch: unknown argument 'scorin'; did you mean 'scoring'\?"):
        trainbus.watch(SGDClassifier(), scorin="accuracy")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((torch.nn.Linear,), "the class Linear is given as the subject; give an object of it"),
        ((torch.optim.SGD(torch.nn.Linear(1, 1).parameters()),), "model is a SGD, not a torch.nn.Module"),
        (
            (torch.optim.SGD(torch.nn.Linear(1, 1).parameters()), torch.nn.Linear(1, 1)),
            r"model is a SGD, not a torch.nn.Module; did you swap model and optimizer\?",
        ),
    ],
)
def test_watch_says_what_is_in_the_place_of_the_model(arguments: Any, sentence: str) -> None:
    """A class, an optimizer alone, or the two arguments in the wrong order."""
    with pytest.raises(trainbus.SettingsError, match=sentence):
        trainbus.watch(*arguments)


def test_an_id_reaches_the_run() -> None:
    """As an argument of the run, not of the adapter."""
    assert trainbus.watch(LineSubject(), run_id="trial-3").run_id == "trial-3"
