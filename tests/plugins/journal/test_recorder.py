"""The laws of keeping a journal: every run's reads by its schema and tells what happened, whatever ends the run."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError, Decision, Run, SettingsError, decision, hookimpl
from trainbus.journal import (
    CheckpointSaved,
    DecisionMade,
    EpochEnded,
    ExceptionRaised,
    FailureReported,
    RunJournal,
    RunResumed,
    RunStarted,
    StopRequested,
    read,
)
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import LineSubject, scripted

SAVED = ModelCheckpoint("run/m-{epoch}", keep_last=2)
STOP = EarlyStopping(patience=3, restore_best_weights=True)
CUT = ReduceLROnPlateau(patience=1, factor=0.5, min_lr=0.1)
JOURNAL = Path("run/journal.jsonl")


def train(scores: list[float], *listed: object, resume: str | None = None, epochs: int | None = None) -> Run:
    with Run(LineSubject(), listed, resume=resume) as run:
        for epoch in run.epochs(len(scores) if epochs is None else epochs):
            for _ in run.batches(range(2)):
                pass
            run.log(val_loss=scores[epoch])
    return run


def story(path: Path = JOURNAL) -> RunJournal:
    found = read(path)
    assert len(found) == 1
    return found[0]


def told(of: RunJournal) -> list[dict[str, Any]]:
    """What happened, without when, and without that the run was resumed."""
    kept = [event for event in of.events if not isinstance(event, (RunStarted, RunResumed))]
    return [json.loads(event.model_dump_json(exclude={"time", "seconds"})) for event in kept]


scores = st.lists(st.sampled_from([nan, inf, -inf, 0.5, 0.25, 1.0, 2.0]), min_size=1, max_size=8)


@given(scores, st.booleans())
def test_every_journal_reads_and_tells_what_the_run_knows(
    tmp_path_factory: pytest.TempPathFactory, given_scores: list[float], raising: bool
) -> None:
    """Metrics, decisions with epoch, reason, plugin and values, and the end are those of the run itself."""
    path = tmp_path_factory.mktemp("journal") / "runs/a.jsonl"

    class Faulty:
        @hookimpl
        def on_train_end(self) -> None:
            if raising:
                raise ValueError("bad")

    try:
        history = [{"val_loss": each, "loss": -each} for each in given_scores]
        run, decided = scripted(history, [STOP, CUT, Journal(path), Faulty()], LineSubject())
    except ValueError:
        assert raising
        assert story(path).end is not None
        return
    found = story(path)

    assert repr([each.metrics for each in found.epochs]) == repr(
        [dict(metrics) for _, metrics in run.state.epoch_metrics]
    )
    assert [each.epoch for each in found.epochs] == run.history.epochs
    assert repr(
        [(each.epoch, [(a.kind, a.by, a.reason, a.values) for a in each.actions]) for each in found.decisions]
    ) == repr([(epoch, [(a.kind, a.by, a.reason, dict(a.values)) for a in each]) for epoch, each in decided])
    assert list(run.result.decisions) == decided
    assert found.end is not None
    assert (found.end.reason, found.end.epochs) == (run.result.reason, run.result.epochs)
    assert {name: (best.value, best.epoch) for name, best in found.end.best.items()} == run.result.best
    assert found.callbacks["EarlyStopping"].settings == {
        name: value for name, value in STOP.settings().items() if name != "callback"
    }


def test_the_values_of_a_stop_are_those_that_the_rule_compared() -> None:
    """Who reads a decision can follow it: value, best, its epoch, the wait and the patience."""
    train([3.0, 1.0, 1.5, 2.0], EarlyStopping(patience=2, min_delta=0.25), Journal("a.jsonl"))

    (stop,) = [action for each in story(Path("a.jsonl")).decisions for action in each.actions]

    assert stop.reason == "val_loss 2 did not improve on 1 (epoch 2) by more than 0.25 for the 2nd time"
    assert (stop.kind, stop.by, stop.rule) == ("stop", "EarlyStopping", "stopping_rule")
    assert stop.values == {
        "metric": "val_loss",
        "mode": "min",
        "value": 2.0,
        "best": 1.0,
        "best_epoch": 1,
        "wait": 2,
        "patience": 2,
        "min_delta": 0.25,
        "baseline": None,
        "start_from_epoch": 0,
        "smoothing": None,
    }


def test_a_cut_tells_the_learning_rates_that_follow() -> None:
    """Factor and floor are what was asked, the rates what came of it; the next epoch trains with them."""
    train([1.0, 1.0, 1.0], CUT, Journal("a.jsonl"))
    found = story(Path("a.jsonl"))

    assert [each.learning_rates for each in found.decisions] == [{"learning_rate": 0.25}, {"learning_rate": 0.125}]
    assert [each.metrics["learning_rate"] for each in found.epochs] == [0.5, 0.5, 0.25]
    assert found.decisions[0].actions[0].options == {"factor": 0.5, "floor": 0.1}


@pytest.mark.parametrize(
    ("listed", "place"),
    [
        ([SAVED], "run"),
        ([TensorBoard("logs"), SAVED], "run"),
        ([TensorBoard("logs"), STOP], "logs"),
        ([ModelCheckpoint("best"), TensorBoard("logs")], "."),
        ([TensorBoard("logs"), Journal()], "logs"),
        ([STOP, Journal()], "."),
        ([SAVED, Journal("elsewhere/j.jsonl")], None),
        ([SAVED, Journal(enabled=False)], None),
        ([STOP, CUT], None),
    ],
)
def test_a_run_with_a_place_for_its_files_keeps_a_journal_there(listed: list[Any], place: str | None) -> None:
    """Beside the first checkpoint, else in the first log_dir; elsewhere or not at all where that is listed."""
    run = train([1.0, 2.0], *listed)

    found = [path.parent.as_posix() for path in Path().rglob("journal.jsonl")]
    assert found == ([] if place is None else [place])
    assert Path("elsewhere/j.jsonl").exists() == any(
        getattr(each, "path", "") == "elsewhere/j.jsonl" for each in listed
    )
    assert run.failures == []


def test_runs_one_after_another_share_a_file() -> None:
    """A second run adds to the journal of the first, and each is told by itself."""
    train([1.0, 2.0], SAVED)
    train([3.0], SAVED)

    assert [[each.metrics["val_loss"] for each in told.epochs] for told in read(JOURNAL)] == [[1.0, 2.0], [3.0]]


KILLED = [3.0, 2.0, 2.5, 1.0, 1.5, 1.5, 1.25, 1.5]


class Killer:
    """Ends the process at the event that it is told to, as nothing can prevent."""

    critical = True

    def __init__(self, moment: int) -> None:
        self.left = moment

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @hookimpl
    def on_checkpoint(self) -> None:
        self.count()

    @hookimpl
    def on_decision(self) -> None:
        self.count()

    @hookimpl
    def on_batch_end(self) -> None:
        self.count()

    @hookimpl
    def on_epoch_end(self) -> None:
        self.count()


def in_child(*moments: int | None, listed: tuple[object, ...] = (SAVED, STOP, CUT)) -> None:
    """Train in one process after another, each killed at its moment and resumed by the next."""
    for moment in moments:
        child = os.fork()
        if child == 0:
            try:
                train(KILLED, *listed, *([] if moment is None else [Killer(moment)]), resume="auto")
            except BaseException:  # noqa: BLE001 - the exit code tells
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in ((0,) if moment is None else (0, -signal.SIGKILL))


@pytest.mark.parametrize("every_batch", [False, True])
def test_whenever_it_is_killed_the_journal_of_the_resumed_run_tells_the_story_of_the_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_batch: bool
) -> None:
    """What was decided, saved and logged, each once and in order, however often the run was killed on its way."""
    saved = ModelCheckpoint("run/m-{step}", keep_last=2, save_freq=1) if every_batch else SAVED
    stories = []
    for number, moments in enumerate([(), (6,), (7,), (13, 5, 8), (18, 9)]):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        in_child(*moments, None, listed=(saved, STOP, CUT))
        stories.append(story())

    unbroken, *broken = stories
    assert any(each.void for each in broken)
    for each in broken:
        assert told(each) == told(unbroken)
    assert [type(each) for each in broken[-1].events].count(RunResumed) == 2


def test_a_torn_line_is_cut_off_by_the_run_that_goes_on(tmp_path: Path) -> None:
    """Strict lines of JSON are all that is ever in the file after a resume."""
    train(KILLED[:3], SAVED)
    with JOURNAL.open("ab") as file:
        file.write(b'{"time":17')
    train(KILLED[:5], SAVED, resume="auto")

    assert all(json.loads(line) for line in JOURNAL.read_text().splitlines())
    assert [each.epoch for each in story().epochs] == [0, 1, 2, 3, 4]


def test_a_run_resumed_into_another_place_has_its_own_story(tmp_path: Path) -> None:
    """Where the earlier lines are not there, the journal begins with the resume, and says with which epoch."""
    train(KILLED[:3], SAVED)
    JOURNAL.unlink()
    train(KILLED[:5], SAVED, resume="auto")

    found = story()
    assert isinstance(found.introduction, RunResumed)
    assert (found.introduction.epochs, [each.epoch for each in found.epochs]) == (3, [3, 4])


def test_a_finished_run_that_is_resumed_has_the_same_story() -> None:
    """What stays finished has no news: its last decision is carried out again, and told once."""
    train([1.0, 2.0, 2.0, 2.0, 2.0], SAVED, STOP)
    before = told(story())
    train([1.0, 2.0, 2.0, 2.0, 2.0], SAVED, STOP, resume="auto")

    assert told(story()) == before


def test_failures_exceptions_and_what_ends_a_run_are_told() -> None:
    """An observer that raises, and the error of the loop with its traceback."""

    class Careless:
        critical = False

        @hookimpl
        def on_epoch_end(self) -> None:
            raise KeyError("nothing")

    with pytest.raises(ZeroDivisionError), Run(LineSubject(), [SAVED, Careless()]) as run:
        for _ in run.epochs(3):
            run.log(val_loss=1 / (1 - run.epoch))
    found = story()

    failure = next(each for each in found.events if isinstance(each, FailureReported))
    raised = next(each for each in found.events if isinstance(each, ExceptionRaised))
    assert (failure.plugin, failure.hook, failure.error) == ("Careless", "on_epoch_end", "KeyError: 'nothing'")
    assert raised.error == "ZeroDivisionError: division by zero"
    assert "1 / (1 - run.epoch)" in raised.traceback
    assert found.end is not None
    assert (found.end.outcome, found.end.reason) == ("failed", raised.error)


def test_the_epoch_that_a_plugin_refuses_is_told_all_the_same() -> None:
    """What was logged is written before anybody can raise because of it."""

    class Refusing:
        @hookimpl
        def on_epoch_end(self) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        train([4.0], Refusing(), Journal("a.jsonl"))

    assert [each.metrics["val_loss"] for each in story(Path("a.jsonl")).epochs] == [4.0]


def test_a_signal_is_told_and_what_it_saves() -> None:
    """The signal, the stop that it asks for, the file, and that the run was interrupted; a resume tells on."""

    class Sender:
        @hookimpl
        def on_batch_end(self, epoch: int) -> None:
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(KILLED[:4], SAVED, Sender())
    found = story()
    (sent,) = [each for each in found.events if isinstance(each, StopRequested)]

    assert (sent.name, sent.epoch) == ("SIGINT", 1)
    assert "run/signal.npz" in [str(Path(each.path)) for each in found.events if isinstance(each, CheckpointSaved)]
    assert found.end is not None
    assert found.end.outcome == "interrupted"
    assert not any(isinstance(each, ExceptionRaised) for each in found.events)

    train(KILLED[:4], SAVED, resume="auto")
    assert [each.epoch for each in story().epochs] == [0, 1, 2, 3]
    assert story().end is not None


def test_nobody_elses_file_is_touched() -> None:
    """A file that is no journal is refused where it is named, and left alone where it is only in the way."""
    for content in ("a text without an end", '{"their": "own"}\n', "{"):
        Path("notes").write_text(content)
        with pytest.raises(SettingsError, match=r"path='notes'.*no journal"):
            train([1.0], Journal("notes"))
        assert Path("notes").read_text() == content

    Path("run").mkdir(exist_ok=True)
    JOURNAL.write_text("mine\n")
    run = train([1.0], SAVED)
    assert JOURNAL.read_text() == "mine\n"
    assert [(each.plugin, each.hook) for each in run.failures] == [("Journal", "on_train_begin")]


def test_two_runs_at_a_time_do_not_share_a_named_journal() -> None:
    """The second is refused before it trains; when the first is over, it may."""
    with Run(callbacks=Journal("a.jsonl")):
        with pytest.raises(SettingsError, match=r"Journal: path='a\.jsonl': another run .* saves its journal"):
            Run(callbacks=Journal("a.jsonl")).begin()
        train([1.0], Journal("b.jsonl"))
    train([1.0], Journal("a.jsonl"))

    assert len(read(Path("a.jsonl"))) == 2


def test_two_journals_in_one_run_are_refused_where_they_would_be_one_file() -> None:
    """Two that say the same, however they are written."""
    for listed in ([Journal(), Journal()], [Journal("a.jsonl"), Journal("./a.jsonl")]):
        with pytest.raises(SettingsError, match="two callbacks would write"):
            Run(callbacks=listed)


def test_a_refused_run_leaves_no_line_in_the_journal_of_the_one_that_goes_on() -> None:
    """Who owns the directory is the only one who writes into it."""
    with Run(LineSubject(), SAVED) as run:
        for _ in run.epochs(1):
            run.log(val_loss=1.0)
            with pytest.raises(CheckpointError, match="another run"):
                train([1.0], SAVED)

    assert len(read(JOURNAL)) == 1


def test_a_decision_of_a_strangers_plugin_has_its_rule_and_values(tmp_path: Path) -> None:
    """NumPy's numbers become JSON's, and a NaN stays one."""
    import numpy as np  # noqa: PLC0415

    class Stranger:
        @hookimpl
        def on_epoch_end(self, metrics: Mapping[str, Any]) -> Decision:
            return decision.stop("odd", rule="mine", values={"seen": np.float32(0.5), "n": np.int64(3), "bad": nan})

    train([1.0], Stranger(), Journal("a.jsonl"))
    (each,) = [event for event in story(Path("a.jsonl")).events if isinstance(event, DecisionMade)]

    assert (each.actions[0].rule, repr(each.actions[0].values)) == ("mine", "{'seen': 0.5, 'n': 3, 'bad': nan}")


def test_a_full_disk_ends_the_journal_and_not_the_run() -> None:
    """The lines that were written stay whole; the failures are told, and the training goes on."""
    script = """
import resource, signal
from pathlib import Path
from trainbus import Run
from trainbus.plugins import Journal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with Run(callbacks=Journal("a.jsonl")) as run:
    for epoch in run.epochs(100):
        run.log(loss=1.0)
print(len(run.history["loss"]), len(run.failures))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.split()[0] == "100"
    assert re.search(r"disabled, the training continues", done.stderr)
    assert 1 < len(story(Path("a.jsonl")).epochs) < 100
    assert Path("a.jsonl").read_bytes().endswith(b"}\n")


def test_the_metrics_of_an_epoch_are_told_with_how_long_it_took() -> None:
    """Seconds and wall time of each epoch are those of the run's clock, one after the other."""
    train([1.0, 2.0, 3.0], Journal("a.jsonl"))
    found = [event for event in story(Path("a.jsonl")).events if isinstance(event, EpochEnded)]

    assert all(each.seconds >= 0 for each in found)
    assert sum(each.seconds for each in found) <= found[-1].time - story(Path("a.jsonl")).events[0].time + 0.1
    assert [each.time for each in found] == sorted(each.time for each in found)


def test_checkpoints_behind_a_url_have_no_journal_beside_them() -> None:
    """It would have to be appended to; it lies in the log_dir, or nowhere."""
    far = ModelCheckpoint("memory://far/m")
    train([1.0, 2.0], far)
    assert list(Path().rglob("*.jsonl")) == []

    train([1.0, 2.0], far, TensorBoard("logs"))
    assert [path.as_posix() for path in Path().rglob("*.jsonl")] == ["logs/journal.jsonl"]
