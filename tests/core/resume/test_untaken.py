"""A newer checkpoint in the directory of a run that "auto" does not take is named, with the way to continue from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, TensorBoard, TerminateOnNaN
from trainbus.testing import LineSubject


def trained(epochs: int, *callbacks: Any, interrupt: bool = False, nan: bool = False, resume: Any = "auto") -> Run:
    """Train epochs of 4 batches; the second batch of the last one may end the run, or have a NaN."""
    run = Run(LineSubject(), list(callbacks), verbose=0, resume=resume)
    with run:
        for epoch in run.epochs(epochs):
            for batch in run.batches(range(4)):
                run.log(loss=float("nan") if nan and (epoch, batch) == (epochs - 1, 1) else 1.0)
                if interrupt and (epoch, batch) == (epochs - 1, 1):
                    run.interrupt("TimeLimit")
    return run


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.getMessage().startswith("resume='auto'")]


def saver(filepath: str = "run/m-{epoch}", **options: Any) -> ModelCheckpoint:
    return ModelCheckpoint(filepath, **{"save_on": (), **options})


SIGNAL = {"save_on": ("signal",)}
NEWER: list[tuple[ModelCheckpoint, ModelCheckpoint, str]] = [
    (saver(**SIGNAL), saver(save_on=("end",)), "run/signal.npz"),
    (saver(**SIGNAL), saver(), "run/signal.npz"),
    (saver(**SIGNAL), saver(save_on={"signal": "sig"}), "run/signal.npz"),
    (saver(save_on={"signal": "sig-{step}"}), saver(**SIGNAL), "run/sig-14.npz"),
    (saver(save_last="newest", save_best_only=True, monitor="loss"), saver(), "run/newest.npz"),
    (saver("run/m-{epoch}.ckpt", **SIGNAL), saver("run/m-{epoch}.ckpt"), "run/signal.ckpt"),
    (saver("run/{epoch}/m", **SIGNAL), saver("run/{epoch}/m"), "run/signal.npz"),
    (saver("m-{epoch}", **SIGNAL), saver("m-{epoch}"), "signal.npz"),
]
"""What saves an interrupted run and what resumes it, and the file that is newer."""


@pytest.mark.parametrize(("before", "after", "newer"), NEWER)
@pytest.mark.parametrize("absolute", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_a_newer_file_is_named(
    before: ModelCheckpoint, after: ModelCheckpoint, newer: str, absolute: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line, which says how to continue from it; that way works, and nothing is said then."""
    if absolute:
        before, after = (each.with_option("filepath", f"{Path.cwd()}/{each.filepath}") for each in (before, after))
        newer = f"{Path.cwd()}/{newer}"
    trained(3, before)
    caplog.clear()
    trained(4, before, interrupt=True)
    assert lines(caplog) == []
    run = Run(LineSubject(), after, resume="auto")
    run.begin()
    assert run.resumed is not None
    older = str(run.resumed.path)
    (line,) = lines(caplog)
    assert line == (
        f"resume='auto': {newer!r} is not a file that the callbacks write; the run continues from {older!r}, which is "
        f"older; to continue from it, give resume={newer!r}"
    )
    run.end()
    caplog.clear()
    again = trained(4, after, resume=newer)
    assert again.resumed is not None
    assert str(again.resumed.path) == newer
    assert lines(caplog) == []


def test_without_another_file_the_newest_one_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """And not the first one by its name."""
    trained(3, saver("run/a-{epoch}", **SIGNAL), interrupt=True)
    caplog.clear()
    assert trained(1, saver("run/other-{epoch}")).resumed is None
    assert lines(caplog)[0] == (
        "resume='auto': 'run/signal.npz' is not a file that the callbacks write; the run starts from the beginning; "
        "to continue from it, give resume='run/signal.npz'"
    )


@pytest.mark.parametrize("damage", ["other", "own", "all"])
def test_a_damaged_file_is_not_the_newest(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """The file to continue from is intact."""
    trained(3, saver(keep_last=1, **SIGNAL), interrupt=True)
    for name in {"other": ["signal"], "own": ["m-2"], "all": ["signal", "m-2"]}[damage]:
        Path(f"run/{name}.npz").write_bytes(b"damaged")
    caplog.clear()
    run = Run(LineSubject(), saver(), resume="auto")
    run.begin()
    run.end()
    said = " ".join(lines(caplog))
    assert (run.resumed is None) == (damage != "other")
    assert ("give resume='run/signal.npz'" in said) == (damage == "own")
    assert ("no checkpoint is intact" in said) == (damage != "other")


QUIET: list[tuple[list[Any], list[Any]]] = [
    ([saver(**SIGNAL)], [saver(**SIGNAL)]),
    ([saver(save_on=("end", "signal"))], [saver()]),
    ([saver(save_last=True)], [saver()]),
    ([saver(), saver("run/old-{epoch}", save_freq="2 epochs")], [saver()]),
    ([saver(), saver("run/w-{step}", save_freq="3 steps", save_weights_only=True)], [saver()]),
    ([saver(), TensorBoard("run/logs")], [saver(), EarlyStopping(monitor="loss", patience=9)]),
]
"""Callbacks of a finished run, and of the one that resumes it from the newest file."""


@pytest.mark.parametrize(("before", "after"), QUIET)
def test_nothing_is_said_if_nothing_newer_is_left(
    before: list[Any], after: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Files that are as new, older, or hold only weights do not count."""
    trained(4, *before)
    caplog.clear()
    assert trained(5, *after).resumed is not None
    assert lines(caplog) == []


def test_a_file_for_inspection_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """It is newer on purpose."""
    trained(3, saver(), TerminateOnNaN(save="run/nan-dump"), nan=True)
    caplog.clear()
    run = trained(3, saver())
    assert run.resumed is not None
    assert lines(caplog) == []
