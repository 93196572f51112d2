"""A run that is killed in any way and resumed from its checkpoints decides as if it had never been interrupted."""

import itertools
import json
import logging
import os
import re
import shutil
import tempfile
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.core.storage.dying import MEMORY
from trainbus import Callback, CheckpointError, Decision, Run, decision, hookimpl
from trainbus.checkpoints import commit, entries_of
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

from .scored import SAVED, resumed

KILLED = 9


class Script(NamedTuple):
    """A training: what its metric will be, how many batches an epoch has, and who listens."""

    scores: list[float]
    batches: int
    callbacks: list[Callback]


class Witness:
    """A plugin that logs the events of a run, and dies at the given event."""

    def __init__(self, logged: Path, die_at: int | None) -> None:
        self.logged, self.left = logged, die_at

    def note(self, *what: Any) -> None:
        with self.logged.open("a") as file:
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
    with Run(subject, [*script.callbacks, *listeners], verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            for row in run.batches(np.random.permutation(script.batches)):  # noqa: NPY002
                x = np.array([row + np.random.rand()]) / script.batches  # noqa: NPY002
                run.log(loss=subject.train(x, 2 * x))
            with run.validation():
                run.log(loss=script.scores[epoch])
    return run


def lived(script: Script, epochs: int, logged: Path, *, die_at: int | None = None, resume: str | None = None) -> bool:
    """Train in a child process; return whether it reached its end, rather than being killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            logged.unlink(missing_ok=True)
            logging.disable()
            run = train(script, epochs, Witness(logged, die_at), resume=resume)
            best = {name: float(value.value).hex() for name, value in run.result.best.items()}
            end = ["end", run.result.reason, list(map(str, run.state.files)), best, float(run.subject.slope).hex()]
            with logged.open("a") as file:
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
        st.lists(SAVERS, min_size=1, max_size=2, unique_by=lambda each: each.filepath),
        st.lists(DECIDERS, max_size=2, unique_by=lambda each: str(each.effective_settings())),
    ).flatmap(lambda lists: st.permutations(lists[0] + lists[1])),
)


class Lives(RuleBasedStateMachine):
    """A training that is killed at any of its events, resumed, killed again, finished, and given more epochs."""

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
        """Record the log and the files of an undisturbed run of this many epochs."""
        self.epochs, self.over = epochs, False
        aside = self.folder / "aside"
        aside.mkdir()
        os.chdir(aside)
        assert lived(self.script, epochs, Path("logged"))
        self.logged, self.files = Path("logged").read_text().splitlines(), files_in(Path("run"))
        os.chdir(self.folder)
        shutil.rmtree(aside)

    @rule(event=st.integers(1, 50))
    def is_killed(self, event: int) -> None:
        was_over = self.over
        self.over |= lived(self.script, self.epochs, Path("logged"), die_at=event, resume="auto")
        if not was_over:
            self.logs_the_same()

    @rule()
    def finishes(self) -> None:
        assert lived(self.script, self.epochs, Path("logged"), resume="auto")
        if self.over:
            self.stayed_over()
        else:
            assert self.logs_the_same()[-1] == self.logged[-1]
        self.over = True
        assert files_in(Path("run")) == self.files

    @rule()
    def gets_more_epochs(self) -> None:
        if self.epochs < MOST_EPOCHS:
            self.finishes()
            before = json.loads(self.logged[-1])[-1]
            self.unbroken(self.epochs + 1)
            self.over = json.loads(self.logged[-1])[-1] == before  # a run that a callback stopped stays over

    def stayed_over(self) -> None:
        """Assert that nothing was trained again, and that the run knows how it ended, whatever it has saved."""
        *events, end = map(json.loads, Path("logged").read_text().splitlines())
        assert not [event for event in events if event[0] in ("batch", "epoch")]
        unbroken = json.loads(self.logged[-1])
        for values in (end, unbroken):
            del values[-2]  # the weights are those of the newest file
        assert end == unbroken

    def logs_the_same(self) -> list[str]:
        """Assert that the log is a part of the uninterrupted run's log, without a gap."""
        logged = Path("logged").read_text().splitlines() if Path("logged").exists() else []
        starts = [n for n, line in enumerate(self.logged) if logged[:1] in ([], [line])]
        assert any(logged == self.logged[start : start + len(logged)] for start in starts), (logged, self.logged)
        return logged


def files_in(folder: Path) -> list[str]:
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    named = (re.sub(r"trainbus\.history-.*", "history", file) for file in files if ".trainbus-" not in file)
    return sorted(set(named))  # how many histories there are depends on the deaths


Lives.TestCase.settings = settings(max_examples=settings.default.max_examples // 4, stateful_step_count=5)
TestLives = Lives.TestCase


def test_a_file_that_the_subject_does_not_read_is_refused_with_those_that_it_reads() -> None:
    """Whatever the error says, it names the checkpoint, and the suffixes of this subject."""
    resumed([3.0], SAVED)
    for form in ("{}", "trainbus.{}.json"):
        Path("run", form.format("m-1.npz")).rename(form.format("m.keras"))
    payload, (content,) = Path("m.keras"), entries_of(Path("m.keras"))
    moment = content.model_dump(include={"epoch", "step", "metrics", "run_state"})
    commit(payload, lambda staged: staged.write_text("something else"), **moment)

    with pytest.raises(CheckpointError, match="not a zip file") as raised:
        resumed([3.0], resume="m.keras")
    assert raised.value.__notes__ == ["while resuming from 'm.keras'; this model is saved as .npz"]


def test_a_checkpoint_with_weights_only_restores_weights_and_states_and_logs_that_the_rest_starts_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    saved = ModelCheckpoint("run/m", save_weights_only=True)
    first = resumed([3.0, 2.0], saved, EarlyStopping(patience=2))
    second = resumed([3.0, 2.0, 2.5, 2.5], saved, EarlyStopping(patience=2))

    assert "was saved with save_weights_only: everything else starts from the beginning" in caplog.text
    assert first.subject.slope != 0
    assert second.result.reason == "val_loss 2.5 did not improve on 2 (epoch 2) for the 2nd time"


def test_a_run_that_stopped_stays_stopped_and_logs_how_to_train_on(caplog: pytest.LogCaptureFixture) -> None:
    listed = SAVED, EarlyStopping(patience=1)
    first = resumed([1.0, 2.0, 0.5], *listed)
    second = resumed([1.0, 2.0, 0.5], *listed)

    assert second.result.epochs == first.result.epochs == 2
    assert second.result.reason == first.result.reason
    assert "call go_on() of the run" in caplog.text


def test_a_run_that_stopped_trains_on_once_its_stops_are_cleared() -> None:
    listed = [SAVED, EarlyStopping(patience=1)]
    resumed([1.0, 2.0, 0.5], *listed)

    with Run(LineSubject(), listed, verbose=0, resume="auto") as run:
        run.go_on()
        for epoch in run.epochs(3):
            run.log(val_loss=[1.0, 2.0, 0.5][epoch])

    assert run.history["val_loss"] == [1.0, 2.0, 0.5]
    assert run.result.reason == "all epochs done"


def test_a_run_whose_epochs_are_all_done_logs_that_more_must_be_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    resumed([3.0, 2.0], SAVED)
    run = resumed([3.0, 2.0], SAVED)

    assert run.result.epochs == 2
    assert "all 2 epochs are done; to continue training, raise the number of epochs" in caplog.text


def test_a_run_that_its_loop_stopped_stays_stopped_too() -> None:
    with Run(LineSubject(), [SAVED], verbose=0) as run:
        for epoch in run.epochs(4):
            run.log(val_loss=1.0)
            if epoch == 1:
                run.stop("seen enough")
    again = resumed([1.0] * 4, SAVED)

    assert run.result.reason == "seen enough"
    assert again.result.epochs == 2
    assert again.result.reason == "seen enough"


def test_a_plain_plugin_without_a_state_has_its_decision_finished() -> None:
    """The resumed run executes the rest of the decision: it stops, and writes the other file."""

    class SavesAndStops:
        @hookimpl
        def on_epoch_end(self, epoch: int) -> Decision | None:
            asked = decision.save("a.npz") | decision.save("b.npz") | decision.stop("enough")
            return asked if epoch == 1 else None

    first = resumed([1.0] * 4, SavesAndStops(), resume=None)
    for file in Path().glob("b.npz*"):
        file.unlink()
    again = resumed([1.0] * 4, SavesAndStops(), resume=".")

    assert (again.result.epochs, again.result.reason) == (first.result.epochs, first.result.reason) == (2, "enough")
    assert sorted(path.name for path in again.state.files) == ["a.npz", "b.npz"]
    assert Path("b.npz").exists()


class Draws:
    """A plugin that draws a number at the beginning of each epoch."""

    @hookimpl
    def on_epoch_begin(self) -> None:
        np.random.rand()  # noqa: NPY002 - the generator that a run restores


class SavesAtTheBeginning:
    """A plugin that saves when the second epoch begins."""

    @hookimpl
    def on_epoch_begin(self, epoch: int) -> Decision | None:
        return decision.save("begun.npz") if epoch == 1 else None


@pytest.mark.parametrize("plugins", [[Draws(), SavesAtTheBeginning()], [SavesAtTheBeginning(), Draws()]])
@pytest.mark.parametrize("seeded", [False, True])
def test_a_run_that_was_saved_before_the_loop_of_an_epoch_draws_the_same_orders(
    seeded: bool, plugins: list[Any]
) -> None:
    """From the global generator, whatever other plugins draw in the same event, or from the generator of the loader."""

    def orders(seed: int, resume: str | None = None) -> list[list[int]]:
        np.random.seed(seed)  # noqa: NPY002
        generator = torch.Generator().manual_seed(seed)
        loader = torch.utils.data.DataLoader(range(20), shuffle=True, generator=generator)  # type: ignore[arg-type]
        found: list[list[int]] = []
        callbacks = [*plugins, ModelCheckpoint("m-{epoch}", monitor="loss", save_on=())]
        with Run(LineSubject(), callbacks, verbose=0, resume=resume) as run:
            for _ in run.epochs(3):
                batches = loader if seeded else np.random.permutation(20)  # noqa: NPY002
                found.append([int(batch) for batch in run.batches(batches)])
                run.log(loss=1.0)
        return found

    unbroken = orders(0)
    assert orders(1, "begun.npz") == unbroken[1:]


class DecidesAtBegin:
    """Returns the same decision whenever the training begins, and counts how often it does."""

    def __init__(self, asked: Decision) -> None:
        self.asked, self.begun = asked, 0

    @hookimpl
    def on_train_begin(self) -> Decision:
        self.begun += 1
        return self.asked


@pytest.mark.parametrize(
    "asked",
    [
        decision.scale_learning_rate(0.5),
        decision.save("begin.npz"),
        decision.keep("first"),
        decision.keep("first") | decision.scale_learning_rate(0.25),
        decision.save("a.npz") | decision.save("b.npz") | decision.scale_learning_rate(0.5),
        decision.forget("nothing.npz"),
    ],
    ids=["scale", "save", "keep", "keep and scale", "two saves and scale", "forget"],
)
def test_a_decision_of_the_trainings_begin_is_executed_once_though_a_resume_calls_the_hook(asked: Decision) -> None:
    unbroken = resumed([3.0, 2.0, 1.0], ModelCheckpoint("whole/m"), DecidesAtBegin(asked), resume=None)
    resumed([3.0, 2.0], SAVED, DecidesAtBegin(asked))
    plugin = DecidesAtBegin(asked)
    again = resumed([3.0, 2.0, 1.0], SAVED, plugin)

    assert plugin.begun == 1
    assert again.subject.learning_rates() == unbroken.subject.learning_rates()
    mine = [[each for each in made if each.by == "DecidesAtBegin"] for _, made in again.result.decisions]
    assert list(itertools.chain(*mine)) == [
        each for _, made in unbroken.result.decisions for each in made if each.by == "DecidesAtBegin"
    ]


def test_a_plugin_that_the_resumed_run_has_in_addition_decides_when_it_begins() -> None:
    resumed([3.0, 2.0], SAVED)
    again = resumed([3.0, 2.0, 1.0], SAVED, DecidesAtBegin(decision.scale_learning_rate(0.5)))

    assert [each.kind for _, made in again.result.decisions for each in made if each.by == "DecidesAtBegin"] == [
        "scale_learning_rate"
    ]


@pytest.mark.parametrize("asked", [decision.stop("enough"), decision.scale_learning_rate(0.5)], ids=["stop", "scale"])
def test_what_a_plugin_decides_only_when_a_resumed_run_begins_is_executed(asked: Decision) -> None:
    resumed([3.0, 2.0], SAVED, DecidesAtBegin(Decision()))
    again = resumed([3.0, 2.0, 1.0], SAVED, DecidesAtBegin(asked))

    assert [made for _, made in again.result.decisions if "DecidesAtBegin" in {each.by for each in made}] == [
        asked.signed("DecidesAtBegin")
    ]


@pytest.mark.parametrize("name", ["a.npz", "b.npz"])
def test_a_decision_of_the_trainings_begin_is_not_executed_again_by_a_resume_from_its_own_file(name: str) -> None:
    asked = decision.save("a.npz") | decision.save("b.npz") | decision.scale_learning_rate(0.5)
    first = resumed([3.0], DecidesAtBegin(asked), resume=None)
    again = resumed([3.0], DecidesAtBegin(asked), resume=name)

    assert again.subject.learning_rates() == first.subject.learning_rates()
    assert again.result.decisions == first.result.decisions


@pytest.mark.parametrize("patience", [2, 9])
@pytest.mark.parametrize("monitor", ["val_loss", "loss"])
def test_best_weights_that_were_not_kept_before_the_resume_are_reported_and_not_restored(
    patience: int, monitor: str
) -> None:
    """A callback that restores them only since the resume costs no error at the end of the training."""
    metrics = [{"val_loss": 1.0 + epoch, "loss": 1.0 + epoch} for epoch in range(5)]
    for stopper, epochs in (
        (EarlyStopping(monitor=monitor, patience=9), 2),
        (EarlyStopping(monitor=monitor, patience=patience, restore_best_weights=True), 5),
    ):
        with Run(LineSubject(), [ModelCheckpoint("m"), stopper], resume="auto", verbose=0) as run:
            for epoch in run.epochs(epochs):
                run.log(metrics[epoch])

    (failure,) = run.failures
    assert "is not restored: the run did not keep it before it was resumed" in str(failure)


@pytest.mark.parametrize(("saved_at", "validation"), [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (7, 4)])
def test_a_missing_history_of_a_loop_by_steps_is_named_by_its_validation(
    saved_at: int, validation: int, caplog: pytest.LogCaptureFixture
) -> None:
    """That before which, or at which, the checkpoint was saved; no line says epoch."""

    def by_steps(resume: str | None) -> Run:
        saver = ModelCheckpoint("run/m-{step}", save_freq="1 step", background=False)
        with Run(LineSubject(), saver, verbose=0, resume=resume) as run:
            for _ in run.steps(range(3), 8, validate_every=2):
                run.log(loss=1.0)
        return run

    by_steps(None)
    (history,) = Path("run").glob("trainbus.history-*")
    history.unlink()
    caplog.clear()
    by_steps(f"run/m-{saved_at}.npz")
    assert f"the history before validation {validation} is missing" in caplog.text
    assert "epoch" not in caplog.text
