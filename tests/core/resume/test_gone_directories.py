"""A directory whose checkpoints have gone since the last run is reported when the next one resumes."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

SCORES = [1.0, 0.5, 0.7, 0.6, 0.8, 0.4]
GONE = "holds no checkpoint any more, but"


def best_and_last() -> list[Any]:
    return [ModelCheckpoint("a/m-{epoch}", keep=2), ModelCheckpoint("b/n-{epoch}", keep_last=2)]


def train(callbacks: list[Any], epochs: int, resume: str | None = None) -> Run:
    with Run(LineSubject(), callbacks, verbose=0, resume=resume) as run:
        for epoch in run.epochs(epochs):
            run.log(val_loss=SCORES[epoch])
    return run


@pytest.fixture(autouse=True)
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("callbacks", "gone"),
    [
        (best_and_last(), "b"),
        (best_and_last(), "a"),
        ([ModelCheckpoint("a/m-{epoch}"), ModelCheckpoint("b/n-{epoch}")], "b"),
        ([ModelCheckpoint("a/m-{epoch}", keep_last=1), ModelCheckpoint("b/best", save_best_only=True)], "b"),
        ([ModelCheckpoint("a/m-{epoch}"), ModelCheckpoint("b/{epoch}/m", save_last=True)], "b"),
        ([ModelCheckpoint("a/m"), ModelCheckpoint("b/n"), ModelCheckpoint("c/o-{epoch}", keep=3)], "c"),
    ],
)
@pytest.mark.parametrize("way", ["moved", "emptied", "removed"])
def test_it_is_reported_in_one_line(
    callbacks: list[Any], gone: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the callback keeps; the run trains on, and keeps what it still has."""
    train(callbacks, 3)
    if way == "moved":
        Path(gone).rename("elsewhere")
    else:
        shutil.rmtree(gone)
        if way == "emptied":
            Path(gone).mkdir()

    run = train(callbacks, 6, "auto")

    (line,) = [each for each in caplog.messages if GONE in each]
    assert repr(gone) in line.replace(str(Path.cwd()) + "/", "")
    assert "move it back" in line
    assert run.result.epochs == 6
    assert all(path.exists() for path in run.result.checkpoints)


def test_directories_that_moved_together_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    def run(place: str, epochs: int, resume: str | None = None) -> Run:
        callbacks = [
            ModelCheckpoint(f"{place}/a/m-{{epoch}}", keep=2),
            ModelCheckpoint(f"{place}/b/n-{{epoch}}", keep_last=2),
        ]
        return train(callbacks, epochs, resume)

    run("one", 3)
    Path("one").rename("two")
    run("two", 6, "auto")

    assert caplog.messages == []


@pytest.mark.parametrize("epochs", [1, 2, 4])
@pytest.mark.parametrize(
    "callbacks",
    [
        best_and_last(),
        [ModelCheckpoint("a/m-{epoch}", keep_last=1), ModelCheckpoint("b/n-{epoch}", keep_last=1)],
        [ModelCheckpoint("a/m-{epoch}", keep=1), ModelCheckpoint("b/{epoch}/n", keep_last=1, save_last=True)],
        [ModelCheckpoint("a/m", save_best_only=True), EarlyStopping(patience=9, restore_best_weights=True)],
        [ModelCheckpoint("a/m-{epoch}", keep=2), ModelCheckpoint("b/n-{epoch}", save_freq="3 epochs")],
    ],
)
def test_a_directory_whose_old_files_retention_has_removed_is_not_reported(
    callbacks: list[Any], epochs: int, caplog: pytest.LogCaptureFixture
) -> None:
    train(callbacks, epochs)
    train(callbacks, 6, "auto")

    assert not any(GONE in each for each in caplog.messages)
