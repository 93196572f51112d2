"""A resumed run removes what the interrupted run was to remove and has not, under its own options."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from trainbus import CheckpointError, Run
from trainbus.checkpoints.discovery import payloads_in
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

SCORES = [0.5, 0.4, 0.6, 0.3, 0.7, 0.35]


def mine(run: Run) -> dict[str, Any]:
    """Return the epoch."""
    return {"epoch": run.epoch}


def other(run: Run) -> dict[str, Any]:
    """Return the same by a function of another name."""
    return {"epoch": run.epoch}


class Fails:
    """A content that cannot be made for one of the two files of the fourth decision."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, run: Run) -> dict[str, Any]:
        """Return the epoch."""
        self.calls += 1
        if self.calls == 4:
            raise KeyError("oops")
        return mine(run)


def train(folder: str, epochs: int, resume: Any = None, blocked: str = "", **options: Any) -> set[str]:
    """Train, and return the files that are left.

    Args:
        folder: The directory of the files.
        epochs: How many.
        resume: What the run resumes from.
        blocked: A file that cannot be written in the fourth epoch, since a directory takes its place.
        options: The options of the callback.
    """
    options = {"monitor": "val_loss", "save_last": True, "content": mine, **options}
    with Run(LineSubject(), ModelCheckpoint(f"{folder}/m-{{epoch}}.ckpt", **options), resume=resume, verbose=0) as run:
        for epoch in run.epochs(epochs):
            if epoch == 3 and blocked:
                Path(folder, blocked).unlink(missing_ok=True)
                Path(folder, blocked, "x").mkdir(parents=True)
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            run.log(val_loss=SCORES[epoch])
    return files(folder)


def files(folder: str) -> set[str]:
    """Return the checkpoints in a directory."""
    return {path.name for path in payloads_in(Path(folder)) if path.is_file()}


def broken(folder: str, blocked: str, options: dict[str, Any]) -> None:
    """Train until a file cannot be written."""
    with pytest.raises(CheckpointError):
        train(folder, 4, blocked=blocked, **options)
    shutil.rmtree(Path(folder, blocked))


OPTIONS: list[dict[str, Any]] = [
    {"keep_last": 1},
    {"keep_last": 2},
    {"keep": 1},
    {"keep": 1, "keep_last": 1},
    {"keep_last": 1, "save_best_only": True},
    {"keep_last": 1, "save_freq": "2 steps"},
    {"keep_last": 1, "save_freq": "2 steps", "content": None},
]
CHANGES: dict[str, dict[str, Any]] = {
    "the same function": {},
    "another function": {"content": other},
    "another option": {"on_error": "warn"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("epochs", [4, 6])
def test_the_files_are_those_of_a_run_without_the_failure(
    epochs: int, options: dict[str, Any], change: dict[str, Any]
) -> None:
    """Also if the resumed run trains no further."""
    whole = train("whole", epochs, **options)
    broken("run", "last.ckpt", options)
    left = files("run")

    found = train("run", epochs, "auto", **{**options, **change})

    assert left - found
    # under other options, the next save writes "last"
    assert found == (whole - {"last.ckpt"} if epochs == 4 and "on_error" in change else whole)


@pytest.mark.parametrize("epochs", [4, 6])
def test_a_named_last_file_is_removed_too(epochs: int) -> None:
    """The next one replaces it."""
    options = {"keep_last": 1, "save_last": "last-{epoch}"}
    whole = train("whole", epochs, **options)
    broken("run", "last-4.ckpt", options)

    assert train("run", epochs, "auto", **options) == whole
    broken("other", "last-4.ckpt", options)
    assert train("other", 6, "auto", on_error="warn", **options) == {"m-6.ckpt", "last-6.ckpt"}


@pytest.mark.parametrize("options", OPTIONS[:5], ids=str)
def test_a_content_that_fails_for_one_file_of_a_decision(options: dict[str, Any]) -> None:
    """Whichever it is."""
    whole = train("whole", 6, **options)
    try:
        train("run", 4, **{**options, "content": Fails()})
    except CheckpointError:
        assert train("run", 6, "auto", **options) == whole
    else:
        assert "save_best_only" in options  # it has no fourth decision of two files


@pytest.mark.parametrize(
    ("options", "later", "expected"),
    [
        ({"keep_last": 1}, {"keep_last": 2}, {"m-4", "m-5"}),
        ({"keep_last": 1}, {"keep_last": 3}, {"m-3", "m-4", "m-5"}),
        ({"keep_last": 1}, {"keep_last": None}, {"m-3", "m-4", "m-5"}),
        ({"keep_last": 2}, {"keep_last": 1}, {"m-5"}),
        ({"keep": 1}, {"keep": 2}, {"m-2", "m-4"}),
        ({"keep": 1}, {"keep": 1, "keep_last": 1}, {"m-4", "m-5"}),
        ({"keep": 2, "keep_last": 1}, {"keep": 3}, {"m-1", "m-2", "m-4", "m-5"}),
    ],
)
def test_what_other_options_keep_is_not_removed(
    options: dict[str, Any], later: dict[str, Any], expected: set[str]
) -> None:
    """The file that was to be removed counts as one of the kept files, by its epoch and its value."""
    broken("run", "last.ckpt", options)

    found = train("run", 5, "auto", **{**options, **later})

    assert found - {"last.ckpt"} == {f"{name}.ckpt" for name in expected}


@pytest.mark.parametrize("name", ["m-3.ckpt", "mine.txt"])
def test_a_file_that_no_run_has_saved_is_not_removed(name: str) -> None:
    """Also at the path of one that was to be removed."""
    broken("run", "last.ckpt", {"keep_last": 1})
    for manifest in Path("run").glob("trainbus.m-3*"):
        manifest.unlink()
    Path("run", name).write_text("mine")

    train("run", 5, "auto", on_error="warn", keep_last=1)

    assert Path("run", name).read_text() == "mine"


def test_a_changed_option_leaves_the_state(caplog: pytest.LogCaptureFixture) -> None:
    """The name of a function says nothing about the metric and its direction."""
    train("run", 3, keep=1)
    found = train("run", 5, "auto", content=other, keep=2)

    assert found == {"m-2.ckpt", "m-4.ckpt", "last.ckpt"}
    assert [line for line in caplog.messages if "state" in line] == [
        "run/last.ckpt: ModelCheckpoint: keep 1 -> 2: it keeps its state"
    ]
