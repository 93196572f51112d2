"""A kept file that was deleted between two runs is reported when the next one resumes."""

from pathlib import Path
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

from .saved_files import on_disk

SCORES = [1.0, 0.5, 0.7, 0.6, 0.8, 0.4]
LAST = ModelCheckpoint("run/last")


def train(callbacks: list[Any], epochs: int, resume: str | None = None, scores: list[float] = SCORES) -> Run:
    with Run(LineSubject(), callbacks, verbose=0, resume=resume) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches(range(2)):
                run.log(val_loss=scores[epoch])
    return run


def delete(*names: str) -> None:
    for name in names:
        Path(f"run/{name}.npz").unlink()


def gone(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each for each in caplog.messages if "gone since the run was saved" in each]


COUNT = "keep and keep_last count the files that are left"
BEST = r"the best model is lost, and the next one is saved when val_loss is better than 0.5 (epoch 2)"
CASES: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "the only best one": ({"keep": 1}, ["m-2"], f"'run/m-2.npz' is gone since the run was saved: {COUNT}"),
    "one of the best": ({"keep": 3}, ["m-3"], f"'run/m-3.npz' is gone since the run was saved: {COUNT}"),
    "two of the best": ({"keep": 3}, ["m-2", "m-3"], f"and 1 more are gone since the run was saved: {COUNT}"),
    "one of the last": ({"keep_last": 2}, ["m-3"], f"'run/m-3.npz' is gone since the run was saved: {COUNT}"),
    "of both kinds": ({"keep": 1, "keep_last": 1}, ["m-2"], COUNT),
    "the last new best": (
        {"keep": 2, "save_best_only": True},
        ["m-2"],
        f"'run/m-2.npz' is gone since the run was saved: {BEST}",
    ),
    "an earlier new best": ({"keep": 2, "save_best_only": True}, ["m-1"], COUNT),
    "the only new best": (
        {"filepath": "run/best", "save_best_only": True},
        ["best"],
        f"'run/best.npz' is gone since the run was saved: {BEST}",
    ),
    "a new best with its epoch": ({"save_best_only": True}, ["m-2"], BEST),
    "the best of batches": ({"save_best_only": True, "save_freq": 2}, ["m-2"], BEST),
}


@pytest.mark.parametrize(("options", "names", "sentence"), CASES.values(), ids=CASES)
def test_a_file_that_was_deleted_is_reported_once(
    options: dict[str, Any], names: list[str], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The run trains on; its next resume does not report the file again."""
    callbacks = [LAST, ModelCheckpoint(**{"filepath": "run/m-{epoch}", **options})]
    train(callbacks, 4)
    assert gone(caplog) == []
    delete(*names)

    train(callbacks, 5, "auto")

    (line,) = gone(caplog)
    assert sentence in line
    train(callbacks, 6, "auto")
    assert len(gone(caplog)) == 1


def test_a_lost_best_file_is_replaced_by_the_next_better_one(caplog: pytest.LogCaptureFixture) -> None:
    """As an unbroken run decides: 0.6 does not beat the lost 0.5, and 0.4 does."""
    callbacks = [LAST, ModelCheckpoint("run/best", save_best_only=True)]
    train(callbacks, 3)
    delete("best")
    train(callbacks, 5, "auto")
    assert not Path("run/best.npz").exists()
    train(callbacks, 6, "auto")

    assert on_disk("run") == {"last", "best"}
    assert len(gone(caplog)) == 1


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "callbacks",
    [
        [LAST, ModelCheckpoint("run/m-{epoch}", keep=1)],
        [LAST, ModelCheckpoint("run/m-{epoch}", keep=2, keep_last=1)],
        [LAST, ModelCheckpoint("run/best", save_best_only=True)],
        [ModelCheckpoint("run/m-{epoch}-{batch}", keep_last=2, save_freq=1)],
        [ModelCheckpoint("run/m-{epoch}", save_best_only=True, keep=1, save_last=True), EarlyStopping(patience=9)],
        [LAST, ModelCheckpoint("run/m-{epoch}", save_best_only=True, save_on=("signal", "end"))],
    ],
)
def test_files_that_retention_has_deleted_are_not_reported(
    callbacks: list[Any], epochs: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor the file that the resumed run writes again."""
    train(callbacks, epochs)
    train(callbacks, 6, "auto")

    assert gone(caplog) == []


def test_a_save_that_failed_is_no_best_file(caplog: pytest.LogCaptureFixture) -> None:
    """The best one before it is still the one that must be there."""

    class Full(LineSubject):
        full = False

        def save(self, path: Path, *, weights_only: bool) -> str:
            if self.full:
                raise OSError("the disk is full")
            return super().save(path, weights_only=weights_only)

    best = ModelCheckpoint("run/best-{epoch}", save_best_only=True, on_error="warn")
    callbacks, subject = [ModelCheckpoint("run/last", on_error="warn"), best], Full()
    with Run(subject, callbacks, verbose=0) as run:
        for epoch in run.epochs(4):
            subject.full = epoch == 2
            run.log(val_loss=[3.0, 2.0, 1.0, 9.0][epoch])
    assert on_disk("run") == {"last", "best-1", "best-2"}

    train(callbacks, 5, "auto", [9.0] * 5)
    assert gone(caplog) == []
    delete("best-2")
    train(callbacks, 6, "auto", [9.0] * 6)
    (line,) = gone(caplog)
    assert "'run/best-2.npz' is gone" in line
    assert "better than 2 (epoch 2)" in line
