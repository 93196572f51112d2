"""The parts of a run are put together before it begins, and nothing else happens then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.lifecycle.parts import Parts, assemble
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import EventRecorder, LineSubject


def parts_of(subject: object, *callbacks: Any, **options: Any) -> Parts:
    given: dict[str, Any] = {"resume": None, "resume_strict": False, "resume_learning_rates": "checkpoint"}
    return assemble(subject, callbacks, **{**given, "verbose": 0, "signals": (), **options})


def test_each_part_has_the_same_state_and_plugins() -> None:
    """What one part changes, the others see."""
    parts = parts_of(LineSubject(), EarlyStopping(), ModelCheckpoint("run/{epoch}"), recorder := EventRecorder())

    assert list(parts.callbacks) == ["EarlyStopping", "ModelCheckpoint", "Journal"]
    assert set(parts.callbacks) < set(parts.plugins)
    assert recorder in parts.plugins.values()
    assert parts.bus.on_epoch_end is not None
    assert (parts.group.rank, parts.group.size) == (0, 1)


def test_monitors_are_updated_by_the_bus() -> None:
    """By its first listener, before any plugin is asked."""
    parts = parts_of(None)
    monitor = parts.monitors.get("loss", "min")
    end_epoch = parts.bus.on_epoch_end
    assert end_epoch is not None
    end_epoch(object(), 0, {"loss": 2.0})

    assert monitor.best is not None
    assert monitor.best.value == 2.0


@pytest.mark.parametrize(
    ("subject", "options", "message"),
    [
        (object(), {}, "object"),
        (None, {"resume_learning_rates": "both"}, "resume_learning_rates"),
        (None, {"resume_strict": "yes"}, "resume_strict='yes': give True or False"),
        (None, {"resume_strict": 1}, "resume_strict=1: give True or False"),
        *(
            (None, {"resume": each}, "give the path of a checkpoint, a directory, 'auto', or what run")
            for each in (False, True, 0, 3, "", b"", ["run"], object())
        ),
    ],
)
def test_what_no_run_can_be_made_of_is_refused(subject: object, options: dict[str, Any], message: str) -> None:
    """By the part that would use it."""
    with pytest.raises(SettingsError, match=message):
        parts_of(subject, **options)


def test_nothing_is_written_or_locked() -> None:
    """A list of callbacks can be checked where another run trains."""
    parts_of(LineSubject(), ModelCheckpoint("run/{epoch}"))

    assert list(Path().iterdir()) == []
