"""The laws of plugins that fail: whatever one does, the others hear everything, and the end once."""

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
from trainbus.failures import LIMIT, Failure
from trainbus.hooks import HOOKS
from trainbus.plugins import TensorBoard
from trainbus.plugins.progress import Progress
from trainbus.testing import EventRecorder, LineSubject


class Boom(Exception):
    pass


class Crash(Exception):
    pass


class Hears:
    """Hears every hook, and raises when `fails` says so of the hook."""

    def __init__(self, fails: Callable[[str], bool] = lambda _: False) -> None:
        self.heard: list[str] = []
        self.raised: list[Boom] = []
        self.fails = fails

    def hear(self, hook: str) -> None:
        self.heard.append(hook)
        if self.fails(hook):
            self.raised.append(Boom(hook))
            raise self.raised[-1]


class Observes(Hears):
    critical = False


class Wraps(Hears):
    """Does so before the others hear it, in a wrapper round them."""


class ObservesWrapping(Wraps):
    critical = False


def _method(hook: str) -> Any:
    def method(self: Hears) -> None:
        self.hear(hook)

    return hookimpl(method)


def _wrapper(hook: str) -> Any:
    def method(self: Hears) -> Iterator[None]:
        self.hear(hook)
        return (yield)  # type: ignore[misc]

    return hookimpl(wrapper=True)(method)


for _hook in HOOKS:
    setattr(Hears, _hook, _method(_hook))
    setattr(Wraps, _hook, _wrapper(_hook))


SAVES = decision.save("fine.npz") | decision.save("taken/best.npz", on_error="warn")
"""A checkpoint that can be written and one that cannot."""


def train(plugins: Sequence[object], *, crash: bool = False) -> tuple[Run, BaseException | None]:
    """A training in which every hook but on_exception is told four times or, at begin and end, once."""
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
    """A file stands where one of the checkpoints needs a directory."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("run")
        (directory / "taken").touch()
        patch.chdir(directory)
        yield


def reports(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [line for line in caplog.messages if line.startswith(f"{name} in ")]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("kind", [Observes, ObservesWrapping])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_failing_observer_disturbs_nobody(
    hook: str, kind: type[Hears], place: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The others hear what they hear without it; it is reported by name, switched off in time, and told of the end."""
    crash = hook == "on_exception"
    undisturbed = [Hears(), Hears()]
    train(undisturbed, crash=crash)
    caplog.clear()
    healthy: list[Hears] = [Hears(), Hears()]
    failing = kind(hook.__eq__)
    plugins = list(healthy)
    plugins.insert(place, failing)
    run, error = train(plugins, crash=crash)

    assert (type(error) if error else None) is (Crash if crash else None)
    assert getattr(error, "__notes__", []) == []
    assert [each.heard for each in healthy] == [each.heard for each in undisturbed]
    assert failing.heard.count("on_train_end") == 1
    times = min(undisturbed[0].heard.count(hook), LIMIT)
    assert failing.heard.count(hook) == times >= 1
    assert [each for each in run.failures if isinstance(each.error, Boom)] == [
        Failure(kind.__name__, hook, raised) for raised in failing.raised
    ]
    told = reports(caplog, kind.__name__)
    assert told[0] == f"{kind.__name__} in {hook}: Boom: {hook}; it only observes, so the training goes on"
    assert len(told) == (1 if times < LIMIT else 2)
    assert ("switched off" in told[-1]) == (times == LIMIT)
    if times == LIMIT:
        after = failing.heard[len(failing.heard) - 1 - failing.heard[::-1].index(hook) + 1 :]
        assert after == ["on_train_end"]
    assert f"failed: {kind.__name__} in {hook}: Boom: {hook}" in str(run.result)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("kind", [Hears, Wraps])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_failing_decider_ends_the_run_in_order(hook: str, kind: type[Hears], place: int) -> None:
    """The user gets the very error with one note of plugin and hook; all hear of it and of the end, once each."""
    crash = hook == "on_exception"
    healthy: list[Hears] = [Observes(), ObservesWrapping()]
    failing = kind(hook.__eq__)
    plugins = list(healthy)
    plugins.insert(place, failing)
    _, error = train(plugins, crash=crash)

    assert error is not None
    if crash:  # the loop's own error came first
        assert type(error) is Crash
        assert error.__notes__ == ["at the end of the run also: Boom: on_exception"]
    else:
        assert error is failing.raised[0]
        assert error.__notes__ == [f"raised in {hook} by the plugin {kind.__name__!r}"]
    for each in [*healthy, failing]:
        assert each.heard.count("on_exception") == (hook != "on_train_end")
        assert each.heard.count("on_train_end") == 1


@given(
    st.lists(
        st.tuples(st.sampled_from([Hears, Observes, Wraps, ObservesWrapping]), st.lists(st.booleans(), max_size=40)),
        max_size=4,
    ),
    st.booleans(),
)
def test_any_pattern_of_failures(patterns: list[tuple[type[Hears], list[bool]]], crash: bool) -> None:
    """The first error of a decider ends the run and nothing else does; nobody hears of the end twice or never."""

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
        assert each.heard.count("on_train_end") == 1
    for each in observers:
        assert len(each.raised) <= LIMIT + 1
        assert len(each.raised) <= LIMIT or each.raised[-1].args == ("on_train_end",)


@pytest.mark.parametrize("kind", [Observes, ObservesWrapping])
def test_one_that_is_off_may_fail_to_close(kind: type[Hears], caplog: pytest.LogCaptureFixture) -> None:
    """It is told of the end once, and what it raises there is reported too."""
    failing = kind(lambda hook: hook in ("on_batch_begin", "on_train_end"))
    run, error = train([failing])

    assert error is None
    assert failing.heard[-2:] == ["on_batch_begin", "on_train_end"]
    assert len([each for each in run.failures if each.plugin == kind.__name__]) == LIMIT + 1
    told = reports(caplog, kind.__name__)
    assert len(told) == 3
    assert "in on_train_end" in told[-1]


def test_batches_are_heard_by_nobody_once_their_only_observer_is_off() -> None:
    """From the next epoch on the batches cost nothing again."""

    class Fails:
        critical = False

        @hookimpl
        def on_batch_end(self) -> None:
            raise Boom

    heard = []
    with Run(callbacks=Fails()) as run:
        for _ in run.epochs(2):
            heard.append(run.hears_batches)
            for _ in run.batches(range(9)):
                pass

    assert heard == [True, False]
    assert (len(run.failures), run.step) == (LIMIT, 18)


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

    healthy = Hears()
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
    assert healthy.heard.count("on_train_end") == 1
    assert not run.failures


@pytest.mark.parametrize("critical", [0, None, "no", [], 0.5])
def test_only_false_makes_an_observer(critical: object) -> None:
    """An attribute that happens to be called so, as a threshold of 0, does not."""
    failing = Hears(lambda hook: hook == "on_epoch_end")
    failing.critical = critical  # type: ignore[attr-defined]
    assert isinstance(train([failing])[1], Boom)


class Answers:
    """Answers one hook with something else than a decision."""

    def __init__(self, hook: str) -> None:
        self.hook = hook

    @hookimpl
    def on_epoch_end(self) -> object:
        return "yes" if self.hook == "on_epoch_end" else None

    @hookimpl
    def on_exception(self) -> object:
        return "ignored"

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
            assert f"answered {hook} with 'yes'" in str(error)  # noqa: PT017 - the run is looked at as well
        return run, subject

    run, subject = loop(ObserverAnswers(hook))
    assert (len(run.failures), run.error, float(subject.slope)) == (1, None, 0.0)
    run, subject = loop(Answers(hook))
    assert (len(run.failures), float(subject.slope)) == (0, 0.0)
    assert isinstance(run.error, LoopError) == (hook == "on_epoch_end")


def test_what_is_wrong_at_the_end_does_not_hide_what_ended_the_run() -> None:
    """The error of the loop goes on, with a note of the rest; answers to on_exception are ignored."""
    crash = Crash()
    with pytest.raises(Crash) as raised, Run(callbacks=Answers("on_train_end")):
        raise crash
    assert raised.value is crash
    assert crash.__notes__ == [
        "at the end of the run also: LoopError: Answers answered on_train_end with 'yes'; answer a Decision or None"
    ]


def test_a_failure_keeps_nothing_alive(caplog: pytest.LogCaptureFixture) -> None:
    """What is kept of a failure holds no frames; whoever wants the traceback has it in the log at level DEBUG."""
    caplog.set_level(logging.DEBUG, "trainbus")
    run, _ = train([Observes(lambda hook: hook == "on_epoch_begin")])
    assert all(each.error.__traceback__ is None for each in run.failures)
    assert any(record.exc_info and record.levelno == logging.DEBUG for record in caplog.records)


def test_built_in_observers_do_not_end_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a subject whose weights cannot be read nor an output that is gone does, and event files are closed."""

    class Unreadable(LineSubject):
        def weights(self) -> Any:
            raise OSError("device lost")

    with (Path("closed.txt")).open("w") as output:
        pass
    monkeypatch.setattr(sys, "stdout", output)
    with Run(Unreadable(), [TensorBoard("logs", histogram_freq=1), Progress(), Hears()]) as run:
        for _ in run.epochs(5):
            run.log(loss=1.0)

    assert run.result.epochs == 5
    assert [str(each) for each in run.failures if each.plugin == "TensorBoard"] == [
        "TensorBoard: no weights from here on: OSError: device lost"
    ]
    rest = [(each.hook, type(each.error)) for each in run.failures if each.plugin != "TensorBoard"]
    assert rest == [("on_epoch_end", ValueError)] * LIMIT


def test_what_a_plugin_goes_on_without_is_one_line_and_switches_nothing_off(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is noted, under the plugin's name in this run, the plugin hears everything."""

    class Loses(Observes):
        @hookimpl
        def on_batch_end(self, run: Run, batch: int) -> None:
            run.note_failure(self, f"no picture {batch}", Boom("torn"))

    first, second = Loses(), Loses()
    with Run(LineSubject(), [first, second]) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(LIMIT + 1)):
                pass

    batches = 2 * list(range(LIMIT + 1))
    expected = [f"{name}: no picture {batch}: Boom: torn" for batch in batches for name in ("Loses", "Loses-2")]
    assert list(map(str, run.failures)) == expected
    assert str(run.result).splitlines()[2:] == [f"failed: {each}" for each in expected]
    assert caplog.messages == [f"{each}; the training goes on" for each in expected]
    assert first.heard.count("on_epoch_end") == second.heard.count("on_epoch_end") == 2


@given(st.lists(st.text(), min_size=2))
def test_a_failure_is_told_in_one_line(said: list[str]) -> None:
    """However many lines its error takes, and whatever is in them."""
    told = str(Failure("Charts", "", Boom("\n".join(said)), "no graph"))
    assert len(told.splitlines()) == 1
    assert told.startswith("Charts: no graph: Boom")
    assert len(told) < 400
