"""A run for a model is made with the adapter for its type."""

from typing import Any

import pytest
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
