"""Tests of files with a suffix of the user's own, on each framework."""

import logging
import logging.handlers
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import Run
from trainbus.checkpoints.discovery import payloads_in, scan
from trainbus.checkpoints.names.suffix import suffix_at_end
from trainbus.cli.main import main
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
pytest.importorskip("sklearn")
pytest.importorskip("skops")

from sklearn.linear_model import SGDRegressor  # noqa: E402

from trainbus.adapters.keras import KerasSubject  # noqa: E402
from trainbus.adapters.sklearn import SklearnSubject  # noqa: E402
from trainbus.adapters.torch import TorchSubject  # noqa: E402

from .parts import TwoModels  # noqa: E402

X, Y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])


class OfLine:
    """A line, and how it is trained and compared."""

    def __init__(self) -> None:
        self.subject: Any = LineSubject()

    def train(self) -> None:
        self.subject.train(X[:, 0], Y)

    def weights(self) -> list[Any]:
        return [np.array(value) for _, value in self.subject.weights()]


class OfTorch(OfLine):
    """A linear layer with an optimizer that has a state."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.subject = TorchSubject(self.model, self.optimizer)

    def train(self) -> None:
        loss = ((self.model(torch.tensor(X, dtype=torch.float32)) - torch.tensor(Y[:, None])) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class OfKeras(OfLine):
    """A dense layer."""

    def __init__(self) -> None:
        keras.utils.set_random_seed(0)
        self.model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        self.model.compile(keras.optimizers.Adam(0.1), loss="mse")
        self.subject = KerasSubject(self.model)

    def train(self) -> None:
        self.model.train_on_batch(X, Y)


class OfSklearn(OfLine):
    """A linear regression."""

    def __init__(self) -> None:
        self.model = SGDRegressor(learning_rate="constant", eta0=0.05, random_state=0).partial_fit(X, Y)
        self.subject = SklearnSubject(self.model)

    def train(self) -> None:
        self.model.partial_fit(X, Y)


KINDS = [OfLine, OfTorch, OfKeras, OfSklearn]


def trained(training: OfLine, callbacks: Any, epochs: int, resume: Any = None) -> Run:
    """Train for some epochs; the loss has its best value in the second one."""
    with Run(training.subject, callbacks, resume=resume) as run:
        for epoch in run.epochs(epochs):
            training.train()
            run.log(loss=[3.0, 1.0, 2.0, 2.5, 2.2][epoch])
    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("suffix", "source"), [(".ckpt", "auto"), (".pth.tar", "directory"), (".bin", "path")])
@pytest.mark.covering(1)
def test_a_run_resumes_from_files_of_any_suffix(
    tmp_path: Path, kind: Callable[[], OfLine], suffix: str, source: str
) -> None:
    """The resumed run ends with the weights and files of one that was never interrupted, and retention counts all."""

    def saver(name: str) -> ModelCheckpoint:
        return ModelCheckpoint(
            str(tmp_path / name / f"m-{{epoch}}{suffix}"), keep_last=2, save_last=True, save_on="end"
        )

    whole = kind()
    trained(whole, saver("whole"), 5)
    trained(kind(), saver("parts"), 3)
    resumed = kind()
    given = {"auto": "auto", "directory": tmp_path / "parts", "path": tmp_path / "parts" / f"m-3{suffix}"}[source]
    run = trained(resumed, saver("parts"), 5, given)

    assert run.resumed is not None
    assert all(np.array_equal(one, other) for one, other in zip(resumed.weights(), whole.weights(), strict=True))
    names = {each.name for each in payloads_in(tmp_path / "parts")}
    assert names == {f"{stem}{suffix}" for stem in ("m-4", "m-5", "last", "end")}
    found = scan(tmp_path / "parts", verify=True)
    assert {each.path.name for each in found} == names
    assert not any(each.flaw for each in found)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_any_suffix_are_loaded_and_restored(tmp_path: Path, kind: Callable[[], OfLine]) -> None:
    """A file of weights restores them, also as the file of the best weights after a resume."""
    saver = ModelCheckpoint(str(tmp_path / "w-{epoch}.bin"), save_weights_only=True, save_on="end")
    stopper = EarlyStopping(monitor="loss", patience=9, restore_best_weights=True)
    best = kind()
    trained(best, (), 2)
    training = kind()
    trained(training, [saver, stopper], 3)
    assert all(np.array_equal(one, other) for one, other in zip(training.weights(), best.weights(), strict=True))

    fresh = kind()
    fresh.subject.load(tmp_path / "w-2.bin")
    assert all(np.array_equal(one, other) for one, other in zip(fresh.weights(), best.weights(), strict=True))


def test_the_content_is_that_of_the_framework(tmp_path: Path) -> None:
    """PyTorch reads the files as they are; Keras reads a file once it has the suffix of its format."""
    trained(OfTorch(), ModelCheckpoint(str(tmp_path / "m.pth.tar"), save_on=()), 1)
    assert set(torch.load(tmp_path / "m.pth.tar", weights_only=True)) >= {"model", "optimizers"}

    training = OfKeras()
    trained(training, ModelCheckpoint(str(tmp_path / "k.ckpt"), save_on=()), 1)
    (tmp_path / "k.ckpt").rename(tmp_path / "k.keras")
    loaded = keras.models.load_model(tmp_path / "k.keras")
    assert np.array_equal(loaded.get_weights()[0], training.model.get_weights()[0])

    trained(training, ModelCheckpoint(str(tmp_path / "w.model"), save_weights_only=True, save_on=()), 1)
    (tmp_path / "w.model").rename(tmp_path / "w.weights.h5")
    loaded.load_weights(tmp_path / "w.weights.h5")
    assert np.array_equal(loaded.get_weights()[0], training.model.get_weights()[0])


def test_a_legacy_model_keeps_its_format_under_another_name(tmp_path: Path) -> None:
    """The content of a renamed ``.h5`` model says what it is."""
    training = OfKeras()
    training.train()
    training.model.save(tmp_path / "m.h5")
    (tmp_path / "m.h5").rename(tmp_path / "m.model")
    fresh = OfKeras()
    fresh.subject.load(tmp_path / "m.model")
    assert np.array_equal(fresh.model.get_weights()[0], training.model.get_weights()[0])


def test_the_command_lists_files_of_any_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``trainbus checkpoints --verify`` reads them as it reads others."""
    trained(OfLine(), ModelCheckpoint(str(tmp_path / "m-{epoch}.model"), save_on=()), 2)
    assert main(["checkpoints", str(tmp_path), "--verify"]) == 0
    out = capsys.readouterr().out
    assert "m-2.model" in out
    assert out.count("intact") == 2


def test_a_long_name_keeps_the_whole_suffix(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name that is shortened ends with the suffix that was given, so that "auto" finds the file."""
    saver = ModelCheckpoint(str(tmp_path / ("m" * 150 + "-{loss:.9f}-{epoch:099d}.pth.tar")), save_on=())
    with caplog.at_level(logging.WARNING):
        trained(OfLine(), saver, 1)
        run = trained(OfLine(), saver, 2, "auto")
    assert run.resumed is not None
    assert run.resumed.path.name.endswith(".pth.tar")


def _changed_names(suffix: str, before: dict[str, Any], after: dict[str, Any], directory: Path) -> list[str]:
    """Resume with other names, and return the files, the listed checkpoints and the lines without the suffix."""
    directory.mkdir()
    lines = logging.handlers.BufferingHandler(1000)
    logging.getLogger("trainbus").addHandler(lines)
    try:
        for epochs, options in ((2, before), (4, after)):
            saver = ModelCheckpoint(str(directory / f"m-{{epoch}}{suffix}"), **options)
            with Run(LineSubject(), saver, resume="auto") as run:
                for epoch in run.epochs(epochs):
                    run.log(loss=float(epoch))
    finally:
        logging.getLogger("trainbus").removeHandler(lines)
    files = sorted(path.name for path in payloads_in(directory))
    listed = [path.name for path in run.result.checkpoints]
    text = [record.getMessage() for record in lines.buffer]
    return [each.replace(str(directory), "").replace(suffix, "") for each in (*files, "listed:", *listed, *text)]


NAMES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"save_last": "last-{epoch}"}, {"save_last": "newest-{epoch}"}),
    ({"save_last": "last-{epoch}"}, {"save_last": "last-{step}-{epoch}"}),
    ({"save_last": "last-{epoch}"}, {"save_last": False}),
    ({"save_last": True}, {"save_last": False}),
    ({"save_last": True}, {"save_last": "last-{epoch}"}),
    ({"save_last": True, "keep_last": 1}, {"save_last": "link", "keep_last": 1}),
    ({"save_on": {"end": "final-{epoch}"}}, {"save_on": {"end": "over-{epoch}"}}),
    ({"save_on": ("end",)}, {"save_on": ()}),
    ({"keep_last": 2, "save_last": "a-{epoch}"}, {"keep_last": 1, "save_last": "b-{epoch}"}),
]
"""Names of files before and after a resume."""
OWN = [".ckpt", ".bin", ".pth.tar", ".model", ".tar", ".weights", ".CKPT"]


@pytest.mark.parametrize(
    ("before", "after", "suffix"),
    [
        *((*names, suffix) for names, suffix in zip(NAMES, [*OWN, *OWN], strict=False)),
        *(pytest.param(*names, each, marks=pytest.mark.exhaustive) for names in NAMES for each in OWN),
    ],
)
def test_a_resume_with_other_names_is_the_same_with_any_suffix(
    before: dict[str, Any], after: dict[str, Any], suffix: str, tmp_path: Path
) -> None:
    """It keeps, deletes, lists and reports the same files as with the suffix of the framework."""
    own = _changed_names(".npz", before, after, tmp_path / "own")

    assert _changed_names(suffix, before, after, tmp_path / "other") == own


CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("run/best.ckpt", "run/best.bin", {"save_best_only": True, "monitor": "loss", "mode": "min"}),
    ("run/m-{epoch}.ckpt", "run/m-{epoch}.bin", {"keep_last": 1}),
    ("run/m-{epoch}.ckpt", "run/m-{epoch}.pth.tar", {"keep": 2, "monitor": "loss"}),
    ("run/m-{epoch}.pth.tar", "run/m-{epoch}.ckpt", {"keep_last": 1, "save_last": True}),
    ("run/m-{epoch}.ckpt", "run/m-{epoch}", {"keep_last": 2}),
    ("run/m-{epoch}", "run/m-{epoch}.ckpt", {"keep_last": 2}),
    ("run/{epoch}/m.model", "run/{epoch}/m.bin", {"keep_last": 1}),
    ("run/m-{epoch}.ckpt", "run/m-{epoch}.bin", {"keep_last": 1, "save_last": "last-{epoch}"}),
    ("run/m-{loss:.2f}.ckpt", "run/m-{loss:.2f}.bin", {"keep": 1, "monitor": "loss"}),
    ("run/{part}-{epoch}.ckpt", "run/{part}-{epoch}.bin", {"keep_last": 1, "save_last": True}),
]
"""The ``filepath`` of a run, that of the one that is resumed from its file, and options of both."""


@pytest.mark.parametrize(("before", "after", "options"), CHANGES)
@pytest.mark.parametrize("by", ["path", pytest.param("directory", marks=pytest.mark.exhaustive)])
def test_a_run_that_is_resumed_with_another_suffix_knows_the_files_from_before(
    before: str, after: str, options: dict[str, Any], by: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are listed, kept and deleted as those of a run whose suffix never changed; nothing else is said."""

    def train(filepath: str, epochs: int, resume: Any = None) -> Run:
        line = TwoModels() if "{part}" in filepath else LineSubject()
        with Run(line, ModelCheckpoint(filepath, save_on=(), **options), resume=resume) as run:
            for epoch in run.epochs(epochs):
                run.log(loss=5.0 - epoch)
        return run

    def stems() -> set[str]:
        paths = [str(path) for path in Path("run").rglob("*") if path.is_file() and "trainbus" not in path.name]
        return {path.removesuffix(suffix_at_end(path)) for path in paths}

    whole = train(before, 4)
    expected = stems()
    for path in sorted(Path("run").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    first = train(before, 2)
    caplog.clear()
    last = Path(str(first.state.files.newest))
    run = train(after, 4, last if by == "path" else last.parent)
    assert run.resumed is not None
    assert run.history == whole.history
    assert stems() == expected
    assert [line for line in caplog.messages if "it keeps its state" not in line] == []


def test_a_file_with_another_name_and_suffix_is_reported_with_the_way_to_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not deleted."""
    for filepath, resume in (("run/m-{epoch}.ckpt", None), ("run/best-{epoch}.bin", "run/m-2.ckpt")):
        with Run(LineSubject(), ModelCheckpoint(filepath, keep_last=2, save_on=()), resume=resume) as run:
            for _ in run.epochs(4 if resume else 2):
                run.log(loss=1.0)
    assert (
        "'run/m-1.ckpt': not listed as a checkpoint: no callback writes files with the suffix '.ckpt'; give"
        in caplog.text
    )
    assert {path.name for path in payloads_in(Path("run"))} == {"m-1.ckpt", "m-2.ckpt", "best-3.bin", "best-4.bin"}
