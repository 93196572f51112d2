"""The laws of resume: whatever kills a run, the one that goes on from its checkpoints decides as if nothing was."""

import json
import logging
import os
import re
import shutil
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.core.storage.dying import MEMORY
from trainbus import Callback, CheckpointError, Run, SettingsError, hookimpl
from trainbus.checkpoints import commit, entries_of, newest, scan
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.resume.serialization import decompress_log
from trainbus.testing import LineSubject

KILLED = 9


class Script(NamedTuple):
    """A training: what its metric will be, how many batches an epoch has, and who listens."""

    scores: list[float]
    batches: int
    callbacks: list[Callback]


class Witness:
    """Writes down what a run does, and dies at the event that it is told to."""

    def __init__(self, told: Path, die_at: int | None) -> None:
        self.told, self.left = told, die_at

    def note(self, *what: Any) -> None:
        with self.told.open("a") as file:
            file.write(json.dumps(what) + "\n")
        self.die()

    def die(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                os._exit(KILLED)

    @hookimpl
    def on_checkpoint(self) -> None:
        self.die()

    @hookimpl
    def on_decision(self, run: Run, decision: Any) -> None:
        self.note("decision", run.epoch, run.step, [str(action) for action in decision])

    @hookimpl
    def on_batch_end(self, run: Run, epoch: int, step: int) -> None:
        self.note("batch", epoch, step, float(run.subject.slope).hex())

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Any) -> None:
        values = {name: float(value).hex() for name, value in metrics.items()}
        self.note("epoch", epoch, run.step, values, run.subject.learning_rate)


def train(script: Script, epochs: int, *listeners: object, **options: Any) -> Run:
    """Train a line on shuffled, noisy points, all of it drawn from NumPy's global generator."""
    np.random.seed(3)  # noqa: NPY002 - the one that a run brings back by itself
    subject = LineSubject(0.7)
    with Run(subject, [*script.callbacks, *listeners], progress=False, **options) as run:
        for epoch in run.epochs(epochs):
            for row in run.batches(np.random.permutation(script.batches)):  # noqa: NPY002
                x = np.array([row + np.random.rand()]) / script.batches  # noqa: NPY002
                run.log(loss=subject.train(x, 2 * x))
            with run.validation():
                run.log(loss=script.scores[epoch])
    return run


def lived(script: Script, epochs: int, told: Path, *, die_at: int | None = None, resume: str | None = None) -> bool:
    """Train in a process of its own; whether it came to its end, rather than being killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            told.unlink(missing_ok=True)
            logging.disable()
            run = train(script, epochs, Witness(told, die_at), resume=resume)
            best = {name: float(value.value).hex() for name, value in run.result.best.items()}
            end = ["end", run.result.reason, list(map(str, run.files)), best, float(run.subject.slope).hex()]
            with told.open("a") as file:
                file.write(json.dumps([*end, [list(map(repr, values)) for values in run.history.values()]]) + "\n")
            code = 0
        except BaseException:  # noqa: BLE001 - the test sees the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == 0


def saver(name: str, **options: Any) -> st.SearchStrategy[Callback]:
    return st.builds(ModelCheckpoint, filepath=st.just("run/" + name), **options)


SAVERS = st.one_of(
    saver("every/m-{epoch}", keep_last=st.integers(1, 2), save_last=st.booleans()),
    saver("best/m", save_best_only=st.just(True), save_last=st.booleans()),
    saver("kept/m-{epoch}-{step}", keep=st.integers(1, 2), keep_last=st.none() | st.integers(1, 2)),
    saver("steps/m-{step}", save_freq=st.sampled_from(["2 steps", "3 steps"]), keep_last=st.integers(1, 2)),
    saver("second/m", save_freq=st.sampled_from([2, "2 epochs", "5 batches"])),
)
DECIDERS = st.one_of(
    st.builds(
        EarlyStopping,
        patience=st.integers(0, 3),
        restore_best_weights=st.booleans(),
        start_from_epoch=st.integers(0, 2),
    ),
    st.builds(ReduceLROnPlateau, patience=st.integers(0, 2), cooldown=st.integers(0, 2), factor=st.just(0.5)),
)
MOST_EPOCHS = 8
SCRIPTS = st.builds(
    Script,
    st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, float("nan")]), min_size=MOST_EPOCHS, max_size=MOST_EPOCHS),
    st.integers(1, 4),
    st.tuples(
        st.lists(SAVERS, min_size=1, max_size=2, unique_by=lambda each: each.filepath), st.lists(DECIDERS, max_size=2)
    ).flatmap(lambda lists: st.permutations(lists[0] + lists[1])),
)


class Lives(RuleBasedStateMachine):
    """A training that is killed at any of its events, resumed, killed again, finished, and asked for more epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path.cwd()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        os.chdir(self.folder)

    def teardown(self) -> None:
        os.chdir(self.home)
        shutil.rmtree(self.folder)

    @initialize(script=SCRIPTS, epochs=st.integers(2, MOST_EPOCHS - 1))
    def begin(self, script: Script, epochs: int) -> None:
        self.script = script
        self.unbroken(epochs)

    def unbroken(self, epochs: int) -> None:
        """What a run of so many epochs tells and leaves where nothing happens to it."""
        self.epochs = epochs
        aside = self.folder / "aside"
        aside.mkdir()
        os.chdir(aside)
        assert lived(self.script, epochs, Path("told"))
        self.told, self.files = Path("told").read_text().splitlines(), files_in(Path("run"))
        os.chdir(self.folder)
        shutil.rmtree(aside)

    @rule(event=st.integers(1, 50))
    def is_killed(self, event: int) -> None:
        lived(self.script, self.epochs, Path("told"), die_at=event, resume="auto")
        self.tells_the_same()

    @rule()
    def finishes(self) -> None:
        assert lived(self.script, self.epochs, Path("told"), resume="auto")
        assert self.tells_the_same()[-1] == self.told[-1]
        assert files_in(Path("run")) == self.files

    @rule()
    def gets_more_epochs(self) -> None:
        if self.epochs < MOST_EPOCHS:
            self.finishes()
            self.unbroken(self.epochs + 1)

    def tells_the_same(self) -> list[str]:
        """What was told is a part of what the unbroken run told, without a gap."""
        told = Path("told").read_text().splitlines() if Path("told").exists() else []
        starts = [n for n, line in enumerate(self.told) if told[:1] in ([], [line])]
        assert any(told == self.told[start : start + len(told)] for start in starts), (told, self.told)
        return told


def files_in(folder: Path) -> list[str]:
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(file for file in files if ".trainbus-" not in file)


Lives.TestCase.settings = settings(stateful_step_count=5)
TestLives = Lives.TestCase


def resumed(scores: list[float], *callbacks: object, resume: Any = "auto", **options: Any) -> Run:
    """A run over these scores, resumed from `resume`."""
    with Run(LineSubject(), list(callbacks), progress=False, resume=resume, **options) as run:
        for epoch in run.epochs(len(scores)):
            run.subject.train(np.array([1.0]), np.array([3.0]))
            run.log(val_loss=scores[epoch])
    return run


SAVED = ModelCheckpoint("run/m-{epoch}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_auto_begins_afresh_where_there_is_nothing_and_goes_on_where_there_is() -> None:
    first = resumed([3.0, 2.0], SAVED)
    second = resumed([3.0, 2.0, 1.0], SAVED)

    assert first.resumed is None
    assert second.resumed is not None
    assert second.resumed.epoch == 1
    assert second.history["val_loss"] == [3.0, 2.0, 1.0]
    assert second.result.epochs == 3


@pytest.mark.usefixtures("folder")
def test_auto_needs_a_callback_that_saves() -> None:
    with pytest.raises(SettingsError, match="list one, or give the path of a file"):
        resumed([1.0])


@pytest.mark.usefixtures("folder")
def test_a_path_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    resumed([3.0], SAVED)

    with pytest.raises(SettingsError, match=re.escape("no such file; did you mean 'm-1.npz'?")):
        resumed([3.0], SAVED, resume="run/m-1.np")


def test_a_directory_without_a_checkpoint_is_refused_with_the_way_to_begin_afresh(folder: Path) -> None:
    with pytest.raises(SettingsError, match="no checkpoint of a run in this directory; resume='auto' starts afresh"):
        resumed([3.0], SAVED, resume=folder)


@pytest.mark.usefixtures("folder")
def test_a_file_and_a_directory_are_gone_on_from_as_auto_is() -> None:
    resumed([3.0, 2.0], SAVED)

    assert resumed([3.0, 2.0, 1.0], resume="run/m-1.npz").history["val_loss"] == [3.0, 2.0, 1.0]
    assert resumed([3.0, 2.0, 1.0], resume=Path("run")).resumed == newest(scan(Path("run")))[0]


@pytest.mark.parametrize("here", [".", Path(), "./"])
def test_the_working_directory_is_a_directory_too(here: Any, folder: Path) -> None:
    saved = ModelCheckpoint("m-{epoch}")
    resumed([3.0, 2.0], saved, resume=None)

    run = resumed([3.0, 2.0, 1.0], saved, resume=here)
    assert run.resumed is not None
    assert run.resumed.path == Path("m-2.npz")
    assert run.files == [Path("m-1.npz"), Path("m-2.npz"), Path("m-3.npz")]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("source", [True, 5, "", "Auto"])
def test_what_names_no_place_is_refused_with_what_does(source: Any) -> None:
    with pytest.raises(SettingsError, match=rf"resume={source!r}: .*'auto'"):
        resumed([3.0], SAVED, resume=source)


@pytest.mark.usefixtures("folder")
def test_what_was_not_packed_is_read() -> None:
    """A manifest that has history and decisions as lists, as they were written before, is gone on from alike."""
    first = resumed([3.0, 2.0], SAVED)
    path = Path("run/m-2.npz")
    (content,) = entries_of(path)
    lists = {name: decompress_log(content.memory[name]) for name in ("history", "decided")}
    moment = content.model_dump(include={"epoch", "step", "metrics"})
    commit(path, lambda staged: shutil.copy("run/m-2.npz", staged), **moment, memory={**content.memory, **lists})

    second = resumed([3.0, 2.0, 1.0], SAVED)
    assert second.history["val_loss"] == [3.0, 2.0, 1.0]
    assert second.result.decisions[: len(first.decided)] == tuple(first.decided)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resumed([3.0, 2.0], SAVED)
    path = folder / "run/m-2.npz"
    path.write_bytes(path.read_bytes()[:-1])

    run = resumed([3.0, 2.0, 1.0], SAVED)

    assert run.resumed is not None
    assert run.resumed.epoch == 0
    assert f"passed over: {path.relative_to(folder)}" in caplog.text
    assert newest(scan(folder / "run"))[1] == []


def test_where_nothing_is_intact_auto_says_that_it_begins_afresh(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resumed([3.0], SAVED)
    assert "afresh" not in caplog.text
    (folder / "run/m-1.npz").write_bytes(b"")

    assert resumed([3.0], SAVED).resumed is None
    assert "resume='auto': nothing that could be gone on from is left; the run begins afresh" in caplog.text


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("suffix", ["", ".npz"])
def test_auto_finds_what_got_a_shorter_name(suffix: str) -> None:
    """The loss of a run that explodes makes names that no file system takes."""
    saved = ModelCheckpoint(f"run/m-{{val_loss:.2f}}-{{epoch}}{suffix}", keep_last=1)
    resumed([3.0, 1e300], saved)

    run = resumed([3.0, 1e300, 2.0], saved)
    assert run.resumed is not None
    assert run.resumed.epoch == 1


@pytest.mark.usefixtures("folder")
def test_where_only_files_of_other_names_are_there_auto_says_that_it_begins_afresh(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A template that was changed since then is told, and not found out by the epochs that are trained again."""
    resumed([3.0], SAVED)

    assert resumed([3.0], ModelCheckpoint("run/other-{epoch}")).resumed is None
    assert "m-1.npz' is none of the files that the callbacks write; the run begins afresh" in caplog.text


def test_a_checkpoint_without_its_manifest_is_refused_with_the_way_out(folder: Path) -> None:
    resumed([3.0], SAVED)
    (folder / "run/m-1.npz").rename("m.npz")

    with pytest.raises(CheckpointError, match=re.escape("'m.npz.trainbus.json' is missing; copy it from where")):
        resumed([3.0], resume="m.npz")


def test_a_file_that_the_subject_does_not_read_is_told_with_those_that_it_does(folder: Path) -> None:
    """Whatever the error says, it names the checkpoint, and the suffixes of this subject."""
    resumed([3.0], SAVED)
    for suffix in ("", ".trainbus.json"):
        (folder / f"run/m-1.npz{suffix}").rename(f"m.keras{suffix}")
    payload, (content,) = Path("m.keras"), entries_of(Path("m.keras"))
    moment = content.model_dump(include={"epoch", "step", "metrics", "memory"})
    commit(payload, lambda staged: staged.write_text("something else"), **moment)

    with pytest.raises(ValueError, match="pickle") as raised:
        resumed([3.0], resume="m.keras")
    assert raised.value.__notes__ == ["while resuming from 'm.keras'; LineSubject writes and reads .npz"]


def test_a_damaged_checkpoint_that_is_named_is_refused(folder: Path) -> None:
    resumed([3.0, 2.0], SAVED)
    (folder / "run/m-2.npz").write_bytes(b"")

    with pytest.raises(CheckpointError, match=re.escape("m-2.npz")):
        resumed([3.0, 2.0, 1.0], SAVED, resume="run/m-2.npz")


@pytest.mark.usefixtures("folder")
def test_a_checkpoint_of_weights_alone_brings_back_weights_and_memory_and_says_that_the_rest_begins_afresh(
    caplog: pytest.LogCaptureFixture,
) -> None:
    saved = ModelCheckpoint("run/m", save_weights_only=True)
    first = resumed([3.0, 2.0], saved, EarlyStopping(patience=2))
    second = resumed([3.0, 2.0, 2.5, 2.5], saved, EarlyStopping(patience=2))

    assert "was saved with save_weights_only: the rest begins afresh" in caplog.text
    assert first.subject.slope != 0
    assert second.result.reason == "val_loss 2.5 did not improve on 2 (epoch 2) for the 2nd time"


@pytest.mark.usefixtures("folder")
def test_a_run_that_stopped_stays_finished_and_says_how_to_go_on(caplog: pytest.LogCaptureFixture) -> None:
    listed = SAVED, EarlyStopping(patience=1)
    first = resumed([1.0, 2.0, 0.5], *listed)
    second = resumed([1.0, 2.0, 0.5], *listed)

    assert second.result.epochs == first.result.epochs == 2
    assert second.result.reason == first.result.reason
    assert "call go_on() of the run" in caplog.text


@pytest.mark.usefixtures("folder")
def test_a_run_that_stopped_goes_on_when_it_is_told_to() -> None:
    listed = [SAVED, EarlyStopping(patience=1)]
    resumed([1.0, 2.0, 0.5], *listed)

    with Run(LineSubject(), listed, progress=False, resume="auto") as run:
        run.go_on()
        for epoch in run.epochs(3):
            run.log(val_loss=[1.0, 2.0, 0.5][epoch])

    assert run.history["val_loss"] == [1.0, 2.0, 0.5]
    assert run.result.reason == "all epochs done"


@pytest.mark.usefixtures("folder")
def test_a_run_whose_epochs_are_all_done_says_that_more_are_to_be_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    resumed([3.0, 2.0], SAVED)
    run = resumed([3.0, 2.0], SAVED)

    assert run.result.epochs == 2
    assert "all 2 epochs are done; to train on, ask for more" in caplog.text


BEFORE = [SAVED, EarlyStopping(patience=2, min_delta=0.1), ReduceLROnPlateau(patience=2)]
CHANGES: list[tuple[list[Callback], list[str]]] = [
    ([SAVED, EarlyStopping(patience=50, min_delta=0.1), BEFORE[2]], ["patience 2 -> 50: it keeps what it knew"]),
    ([SAVED, BEFORE[2], BEFORE[1]], []),
    (
        [SAVED, EarlyStopping(monitor="val_loss_2", patience=2, min_delta=0.1, mode="min"), BEFORE[2]],
        ["monitor 'val_loss' -> 'val_loss_2', mode 'auto' -> 'min': it begins afresh"],
    ),
    ([SAVED, BEFORE[1]], ["is gone: what it knew is dropped"]),
    ([*BEFORE, EarlyStopping(patience=9)], ["is new: it begins afresh"]),
    (
        [SAVED, EarlyStopping(patience=3), BEFORE[2]],
        ["min_delta 0.1 -> 0.0, patience 2 -> 3: it keeps what it knew"],
    ),
    ([SAVED, EarlyStopping(patience=2, min_delta=0.1, verbose=1), BEFORE[2]], []),
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("after", "said"), CHANGES)
def test_the_new_settings_win_and_each_difference_is_said_in_one_line(
    after: list[Callback], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    resumed([1.0, 1.0], *BEFORE)
    with Run(LineSubject(), after, progress=False, resume="auto") as run:
        pass

    lines = [record.getMessage() for record in caplog.records]
    assert run.resumed is not None
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("after", "said"), CHANGES)
def test_where_resuming_is_strict_every_difference_is_refused_at_once(after: list[Callback], said: list[str]) -> None:
    resumed([1.0, 1.0], *BEFORE)

    with ExitStack() as refused:
        if said:
            told = refused.enter_context(pytest.raises(SettingsError, match="resume_strict"))
        refused.enter_context(Run(LineSubject(), after, progress=False, resume="auto", resume_strict=True))

    if said:
        assert all(part in str(told.value) for part in said)


@pytest.mark.usefixtures("folder")
def test_patience_that_grew_takes_back_the_stop_and_goes_on_counting() -> None:
    resumed([1.0, 2.0, 2.0, 2.0], SAVED, EarlyStopping(patience=2))
    run = resumed([1.0, *[2.0] * 9], SAVED, EarlyStopping(patience=4))

    assert run.result.reason == "val_loss 2 did not improve on 1 (epoch 1) for the 4th time"
    assert run.result.epochs == 5


class Refuser:
    """Remembers what no file can hold."""

    @hookimpl
    def on_train_begin(self) -> None:
        """It listens."""

    def state_dict(self) -> object:
        return object()

    def load_state_dict(self, saved: object) -> None:
        """Nothing is ever remembered."""


def test_a_plugin_that_remembers_no_plain_data_costs_the_run_before_anything_is_replaced(folder: Path) -> None:
    with pytest.raises(TypeError) as refused:
        resumed([1.0], SAVED, Refuser(), resume=None)

    assert "state_dict" in "".join(refused.value.__notes__)
    assert not list(folder.glob("run/m-*"))


@pytest.mark.usefixtures("folder")
def test_a_run_that_its_loop_stopped_stays_finished_too() -> None:
    with Run(LineSubject(), [SAVED], progress=False) as run:
        for epoch in run.epochs(4):
            run.log(val_loss=1.0)
            if epoch == 1:
                run.stop("seen enough")
    again = resumed([1.0] * 4, SAVED)

    assert run.result.reason == "seen enough"
    assert again.result.epochs == 2
    assert again.result.reason == "seen enough"
