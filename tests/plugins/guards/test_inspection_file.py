"""The name of a file for inspection has counters only, and is none that a resume would find."""

import pytest

from trainbus import Run, SettingsError
from trainbus.plugins import ModelCheckpoint, TerminateOnNaN
from trainbus.testing import LineSubject


@pytest.mark.parametrize(
    ("save", "message"),
    [
        ("nan-{loss:.2f}", r"{loss}: only {run}, {epoch}, {epoch0}, {batch} and {step} are known here; leave it out"),
        ("nan-{epochs}", r"{epochs}: .* known here; did you mean {epoch}\?"),
        ("nan-{part}", r"{part}: .* known here"),
        ("nan-{}", r"a field is one name"),
        ("nan-{epoch!r}", r"a field is one name"),
        ("nan-{epoch:.2q}", r"a field is one name"),
        ("nan-{step", r"a single {; write {{"),
        ("nan-{run}", r"{run} must be part of the directory, .*; write '{run}/nan-{run}'"),
        ("{epoch}/{run}/nan", r"{run} must be part of the directory"),
        ("{run:03d}/nan", r"{run} is text and has no number format"),
    ],
)
def test_a_field_that_nothing_fills_is_refused(save: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"TerminateOnNaN: save=.*{message.replace('{', chr(92) + '{')}"):
        TerminateOnNaN(save=save)


@pytest.mark.parametrize(
    ("filepath", "save", "refused"),
    [
        ("run/m-7", "run/m-{epoch}", True),
        ("run/{step}-3", "run/{epoch}-{step}", True),
        ("run/{epoch}/m", "run/{step}/m", True),
        ("run/m-007", "run/m-{epoch:03d}", True),
        ("run/m-7", "run/n-{epoch}", False),
        ("run/best", "run/{epoch}", False),
        ("run/a/m", "run/{epoch}/m", False),
    ],
)
def test_a_name_with_fields_is_compared_with_those_of_checkpoints(filepath: str, save: str, refused: bool) -> None:
    run = Run(LineSubject(), [ModelCheckpoint(filepath, save_on=()), TerminateOnNaN(save=save)])
    if refused:
        with pytest.raises(SettingsError, match="would continue from this file"):
            run.begin()
    else:
        run.begin()
        run.end()
