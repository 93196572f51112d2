"""A run for a model is made with the adapter for its type."""

import pytest
from sklearn.linear_model import SGDClassifier

import trainbus
from trainbus.testing import LineSubject


def test_watch_takes_subjects_and_refuses_other_objects_with_arguments() -> None:
    """An object that no adapter takes is a subject itself; with further arguments it is refused."""
    subject = LineSubject()

    assert trainbus.watch(subject).subject is subject
    with pytest.raises(trainbus.SettingsError, match="no adapter takes a LineSubject"):
        trainbus.watch(subject, object())


def test_watch_refuses_misspelt_options_of_the_adapter() -> None:
    """An option that the adapter does not take is refused with the nearest that it takes."""
    with pytest.raises(trainbus.SettingsError, match=r"SklearnSubject: .*'scorin'.*did you mean 'scoring'\?"):
        trainbus.watch(SGDClassifier(), scorin="accuracy")
