"""Every error is one of trainbus and one of Python's own kinds, and arrives in another process as it was raised."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trainbus
from trainbus import errors
from trainbus.plugins import EarlyStopping

KINDS = {
    errors.SettingsError: ValueError,
    errors.UnknownName: ValueError,
    errors.UnknownDirection: ValueError,
    errors.MissingMetric: ValueError,
    errors.MissingCapability: ValueError,
    errors.JournalError: ValueError,
    errors.MissingDependency: ImportError,
    errors.CheckpointError: OSError,
    errors.UnreadableCheckpoint: OSError,
    errors.DirectoryLocked: OSError,
    errors.LoopError: RuntimeError,
    errors.RankError: RuntimeError,
}
"""Each error and the one of Python's that also catches it."""

kinds = st.sampled_from(list(KINDS))
paths = st.lists(st.text() | st.integers(0), max_size=3).map(tuple)


def test_every_error_is_of_trainbus_and_of_one_kind_of_python() -> None:
    """``except TrainbusError`` catches all of them, and the built-in error catches those of its kind only."""
    defined = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)}
    assert defined == {*KINDS, errors.TrainbusError}
    builtin = set(KINDS.values())
    for kind, python in KINDS.items():
        assert issubclass(kind, errors.TrainbusError)
        assert {each for each in builtin if issubclass(kind, each)} == {python}


def test_what_is_wrong_with_a_setting_is_a_settings_error() -> None:
    """One ``except`` clause is enough for a program that checks a user's settings."""
    settings = {kind for kind in KINDS if issubclass(kind, errors.SettingsError)}
    assert settings == {
        errors.SettingsError,
        errors.UnknownName,
        errors.UnknownDirection,
        errors.MissingMetric,
        errors.MissingCapability,
    }


def test_an_unreadable_checkpoint_is_a_checkpoint_error() -> None:
    """A resume skips it, and other checkpoint errors are not skipped."""
    assert issubclass(errors.UnreadableCheckpoint, errors.CheckpointError)
    assert not issubclass(errors.DirectoryLocked, errors.CheckpointError)


def test_users_find_the_errors_at_the_top() -> None:
    """All but the lock of a directory, which only the run itself catches, are in ``trainbus``."""
    assert {kind for kind in KINDS if getattr(trainbus, kind.__name__, None) is not kind} == {errors.DirectoryLocked}


@given(kinds, st.text(), st.lists(st.text(), max_size=2))
def test_an_error_arrives_in_another_process_as_it_was(kind: type[Exception], message: str, notes: list[str]) -> None:
    """Its type, its message and its notes, also through a copy."""
    error = kind(message)
    for note in notes:
        error.add_note(note)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), str(again), again.args) == (kind, message, (message,))
        assert getattr(again, "__notes__", []) == notes


@given(st.lists(st.tuples(paths, st.text())))
def test_problems_arrive_with_their_error(problems: list[tuple[tuple[str | int, ...], str]]) -> None:
    """Each wrong option with its path; an error without any shares none with others."""
    error = errors.SettingsError("wrong")
    assert not error.problems
    error.problems = problems
    assert pickle.loads(pickle.dumps(error)).problems == problems
    assert not errors.SettingsError("another").problems


def test_the_problems_of_a_callback_name_its_options() -> None:
    """The paths that settings files use to find the lines."""
    with pytest.raises(errors.SettingsError) as raised:
        EarlyStopping(patience=-1, patiense=3)
    assert [path for path, _ in raised.value.problems] == [("patience",), ("patiense",)]
    assert all(why in str(raised.value) for _, why in raised.value.problems)
