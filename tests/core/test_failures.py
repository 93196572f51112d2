"""Whatever a plugin raises, the others are called for every event, and once at the end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import LoopError, Run, SettingsError, decision, hookimpl
from trainbus.failures import MAX_FAILURES, Failure
from trainbus.hooks import HOOKS
from trainbus.plugins import TensorBoard
from trainbus.plugins.progress import Progress
from trainbus.testing import EventRecorder, LineSubject


class Boom(Exception):
    pass


class Crash(Exception):
    pass


class Listens:
    """A plugin that implements every hook, and raises in those for which ``fails`` returns True."""

    def __init__(self, fails: Callable[[str], bool] = lambda _: False) -> None:
        self.calls: list[str] = []
        self.raised: list[Boom] = []
        self.fails = fails

    def record(self, hook: str) -> None:
        self.calls.append(hook)
        if self.fails(hook):
            self.raised.append(Boom(hook))
            raise self.raised[-1]


class Observes(Listens):
    critical = False


def _method(hook: str) -> Any:
    def method(self: Listens) -> None:
        self.record(hook)

    return hookimpl(method)


for _hook in HOOKS:
    setattr(Listens, _hook, _method(_hook))


SAVES = decision.save("fine.npz") | decision.save("taken/best.npz", on_error="warn")
"""A checkpoint that can be written and one that cannot."""


def train(plugins: Sequence[object], *, crash: bool = False) -> tuple[Run, BaseException | None]:
    """A training that calls every hook but on_exception four times or, at begin and end, once."""
    run = Run(LineSubject(), [EventRecorder("on_epoch_end", answer=lambda _: SAVES), *plugins])
    try:
        with run:
            for epoch in run.epochs(4):
                for _ in run.batches("a"):
                    run.log(loss=1.0)
                with run.validation():
                    run.log(loss=2.0)
                if crash and epoch == 3:
                    raise Crash
    except (Boom, Crash) as error:
        return run, error
    return run, None


@pytest.fixture(autouse=True)
def somebody_elses_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A file exists at a path where one of the checkpoints needs a directory."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("run")
        (directory / "taken").touch()
        patch.chdir(directory)
        yield


def reports(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [line for line in caplog.messages if line.startswith(f"{name} in ")]


@pytest.mark.covering(1)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_failing_observer_changes_nothing_for_the_others(
    hook: str, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are called as without it; it is reported by name, disabled in time, and called once at the end."""
    crash = hook == "on_exception"
    undisturbed = [Listens(), Listens()]
    train(undisturbed, crash=crash)
    caplog.clear()
    healthy: list[Listens] = [Listens(), Listens()]
    failing = Observes(hook.__eq__)
    plugins = list(healthy)
    plugins.insert(place, failing)
    run, error = train(plugins, crash=crash)

    assert (type(error) if error else None) is (Crash if crash else None)
    assert getattr(error, "__notes__", []) == []
    assert [each.calls for each in healthy] == [each.calls for each in undisturbed]
    assert failing.calls.count("on_train_end") == 1
    times = min(undisturbed[0].calls.count(hook), MAX_FAILURES)
    assert failing.calls.count(hook) == times >= 1
    assert [each for each in run.failures if isinstance(each.error, Boom)] == [
        Failure("Observes", hook, raised) for raised in failing.raised
    ]
    reported = reports(caplog, "Observes")
    assert reported[0] == f"Observes in {hook}: Boom: {hook}; the plugin only observes, so the training continues"
    assert len(reported) == (1 if times < MAX_FAILURES else 2)
    assert ("disabled" in reported[-1]) == (times == MAX_FAILURES)
    if times == MAX_FAILURES:
        after = failing.calls[len(failing.calls) - 1 - failing.calls[::-1].index(hook) + 1 :]
        assert after == ["on_train_end"]
    assert f"failed: Observes in {hook}: Boom: {hook}" in str(run.result)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.covering(1)
def test_a_failing_decider_ends_the_run_in_order(hook: str, place: int) -> None:
    """The user gets the same error with a note of plugin and hook; all plugins are called for it and the end, once."""
    crash = hook == "on_exception"
    healthy: list[Listens] = [Observes(), Observes()]
    failing = Listens(hook.__eq__)
    plugins = list(healthy)
    plugins.insert(place, failing)
    _, error = train(plugins, crash=crash)

    assert error is not None
    if crash:  # the loop's own error came first
        assert type(error) is Crash
        assert error.__notes__ == ["at the end of the run also: Boom: on_exception"]
    else:
        assert error is failing.raised[0]
        assert error.__notes__ == [f"raised in {hook} by the plugin 'Listens'"]
    for each in [*healthy, failing]:  # observers have closed their files when an error is raised in on_train_end
        assert each.calls.count("on_exception") == (hook != "on_train_end" or each is failing)
        assert each.calls.count("on_train_end") == 1


@given(
    st.lists(
        st.tuples(st.sampled_from([Listens, Observes]), st.lists(st.booleans(), max_size=40)),
        max_size=4,
    ),
    st.booleans(),
)
def test_any_pattern_of_failures(patterns: list[tuple[type[Listens], list[bool]]], crash: bool) -> None:
    """The first error of a decider ends the run and nothing else does; every plugin is called once at the end."""

    def drawn(pattern: list[bool]) -> Callable[[str], bool]:
        rest = iter(pattern)
        return lambda _: next(rest, False)

    plugins = [kind(drawn(pattern)) for kind, pattern in patterns]
    run, error = train(plugins, crash=crash)
    deciders = [each for each in plugins if getattr(each, "critical", True)]
    observers = [each for each in plugins if each not in deciders]
    failed = [raised for each in deciders for raised in each.raised]

    if isinstance(error, Boom):
        assert error in failed
        assert len([note for note in error.__notes__ if note.startswith("raised in ")]) == 1
    elif error is None:
        assert not failed
    noted = [each.error for each in run.failures if isinstance(each.error, Boom)]
    assert sorted(map(id, noted)) == sorted(id(raised) for each in observers for raised in each.raised)
    for each in plugins:
        assert each.calls.count("on_train_end") == 1
    for each in observers:
        assert len(each.raised) <= MAX_FAILURES + 1
        assert len(each.raised) <= MAX_FAILURES or each.raised[-1].args == ("on_train_end",)


def test_a_disabled_plugin_may_fail_to_close(caplog: pytest.LogCaptureFixture) -> None:
    """It is called once at the end, and what it raises there is reported, too."""
    failing = Observes(lambda hook: hook in ("on_batch_begin", "on_train_end"))
    run, error = train([failing])

    assert error is None
    assert failing.calls[-2:] == ["on_batch_begin", "on_train_end"]
    assert len([each for each in run.failures if each.plugin == "Observes"]) == MAX_FAILURES + 1
    reported = reports(caplog, "Observes")
    assert len(reported) == 3
    assert "in on_train_end" in reported[-1]


def test_batches_have_no_listener_after_their_only_observer_is_disabled() -> None:
    """From the next epoch on the batches cost nothing again."""

    class Fails:
        critical = False

        @hookimpl
        def on_batch_end(self) -> None:
            raise Boom

    listening = []
    with Run(callbacks=Fails()) as run:
        for _ in run.epochs(2):
            listening.append(run.has_batch_listeners)
            for _ in run.batches(range(9)):
                pass

    assert listening == [True, False]
    assert (len(run.failures), run.step) == (MAX_FAILURES, 18)


@pytest.mark.parametrize("error", [SettingsError("no such place"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_end"])
def test_refusals_and_interrupts_are_no_failures(error: BaseException, hook: str) -> None:
    """An observer's wrong settings end the run before training, an interrupt at any time; later the former do not."""

    class Refuses:
        critical = False

        def go(self, now: str) -> None:
            if now == hook:
                raise error

        @hookimpl
        def on_train_begin(self) -> None:
            self.go("on_train_begin")

        @hookimpl
        def on_epoch_end(self) -> None:
            self.go("on_epoch_end")

    healthy = Listens()
    run = Run(callbacks=[healthy, Refuses()])

    def loop() -> None:
        with run:
            for _ in run.epochs(1):
                pass

    if hook == "on_epoch_end" and isinstance(error, Exception):
        loop()
        assert [each.error for each in run.failures] == [error]
        return
    with pytest.raises(type(error)) as raised:
        loop()
    assert raised.value is error
    assert error.__notes__[-1] == f"raised in {hook} by the plugin 'Refuses'"
    assert healthy.calls.count("on_train_end") == 1
    assert not run.failures


@pytest.mark.parametrize("critical", [0, None, "no", [], 0.5])
def test_only_false_makes_an_observer(critical: object) -> None:
    """An attribute of this name with another meaning, such as a threshold of 0, does not."""
    failing = Listens(lambda hook: hook == "on_epoch_end")
    failing.critical = critical  # type: ignore[attr-defined]
    assert isinstance(train([failing])[1], Boom)


class Answers:
    """A plugin that answers one hook with something other than a decision."""

    def __init__(self, hook: str) -> None:
        self.hook = hook

    @hookimpl
    def on_epoch_end(self) -> object:
        return "yes" if self.hook == "on_epoch_end" else None

    @hookimpl
    def on_train_end(self) -> object:
        return "yes" if self.hook == "on_train_end" else None


class ObserverAnswers(Answers):
    critical = False


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_end"])
def test_a_wrong_answer_is_a_failure_too(hook: str) -> None:
    """An observer's is reported, a decider's ends the run, after what the others decide at the end is done."""
    asked = {"on_train_begin": decision.keep("start"), "on_train_end": decision.restore("start")}
    restores = EventRecorder(*asked, answer=lambda event: asked[event.hook])

    def loop(answers: object) -> tuple[Run, LineSubject]:
        subject = LineSubject()
        run = Run(subject, [answers, restores])
        try:
            with run:
                for _ in run.epochs(1):
                    subject.slope += 1
        except LoopError as error:
            assert f"returned 'yes' from {hook};" in str(error)  # noqa: PT017 - the run is looked at as well
        return run, subject

    run, subject = loop(ObserverAnswers(hook))
    assert (len(run.failures), run.error, float(subject.slope)) == (1, None, 0.0)
    run, subject = loop(Answers(hook))
    assert (len(run.failures), float(subject.slope)) == (0, 0.0)
    assert isinstance(run.error, LoopError) == (hook == "on_epoch_end")


def test_what_is_wrong_at_the_end_does_not_hide_what_ended_the_run() -> None:
    """The error of the loop propagates, with a note of the rest."""
    crash = Crash()
    with pytest.raises(Crash) as raised, Run(callbacks=Answers("on_train_end")):
        raise crash
    assert raised.value is crash
    assert crash.__notes__ == [
        "at the end of the run also: LoopError: Answers returned 'yes' from on_train_end; return a Decision or None"
    ]


def test_a_failure_keeps_nothing_alive(caplog: pytest.LogCaptureFixture) -> None:
    """A failure keeps no frames; its traceback is in the log at level DEBUG."""
    caplog.set_level(logging.DEBUG, "trainbus")
    run, _ = train([Observes(lambda hook: hook == "on_epoch_begin")])
    assert all(each.error.__traceback__ is None for each in run.failures)
    assert any(record.exc_info and record.levelno == logging.DEBUG for record in caplog.records)


def test_built_in_observers_do_not_end_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreadable weights and a closed output do not end a training, and event files are closed."""

    class Unreadable(LineSubject):
        def weights(self) -> Any:
            raise OSError("device lost")

    with (Path("closed.txt")).open("w") as output:
        pass
    monkeypatch.setattr(sys, "stdout", output)
    with Run(Unreadable(), [TensorBoard("logs", histogram_freq=1), Progress(), Listens()]) as run:
        for _ in run.epochs(5):
            run.log(loss=1.0)

    assert run.result.epochs == 5
    assert [str(each) for each in run.failures if each.plugin == "TensorBoard"] == [
        "TensorBoard: no weights from here on: OSError: device lost"
    ]
    rest = [(each.hook, type(each.error)) for each in run.failures if each.plugin != "TensorBoard"]
    assert rest == [("on_epoch_end", ValueError)] * MAX_FAILURES


def test_a_reported_loss_is_one_line_and_disables_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is recorded, under the plugin's name in this run, the plugin is called for every event."""

    class Loses(Observes):
        @hookimpl
        def on_batch_end(self, run: Run, batch: int) -> None:
            run.report_failure(self, f"no picture {batch}", Boom("torn"))

    first, second = Loses(), Loses()
    with Run(LineSubject(), [first, second]) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(MAX_FAILURES + 1)):
                pass

    batches = 2 * list(range(MAX_FAILURES + 1))
    expected = [f"{name}: no picture {batch}: Boom: torn" for batch in batches for name in ("Loses", "Loses-2")]
    assert list(map(str, run.failures)) == expected
    assert str(run.result).splitlines()[2:] == [f"failed: {each}" for each in expected]
    assert caplog.messages == [f"{each}; the training continues" for each in expected]
    assert first.calls.count("on_epoch_end") == second.calls.count("on_epoch_end") == 2


@given(st.lists(st.text(), min_size=2))
def test_a_failure_is_one_line_of_text(lines: list[str]) -> None:
    """For any number of lines of its error, with any characters."""
    text = str(Failure("Charts", "", Boom("\n".join(lines)), "no graph"))
    assert len(text.splitlines()) == 1
    assert text.startswith("Charts: no graph: Boom")
    assert len(text) < 400
