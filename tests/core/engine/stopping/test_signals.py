"""A run listens to signals while it is open; afterwards they have the effect that they had before."""

import gc
import io
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from trainbus import CheckpointError, Run, SettingsError
from trainbus.checkpoints import newest_intact
from trainbus.engine.stopping.signals import Signals, answer
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject


def handlers() -> list[object]:
    return [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]


def test_after_a_run_signals_have_their_effect_of_before() -> None:
    """Whatever ended it."""
    before = handlers()
    with Run(verbose=0):
        assert handlers() != before
    assert handlers() == before

    with pytest.raises(ZeroDivisionError), Run(verbose=0):
        raise ZeroDivisionError
    assert handlers() == before


def test_a_handler_of_the_users_own_is_called_when_the_run_is_over() -> None:
    came: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with Run(verbose=0) as run:
            for _ in run.epochs(3):
                signal.raise_signal(signal.SIGTERM)
                assert came == []
    finally:
        signal.signal(signal.SIGTERM, before)

    assert came == [signal.SIGTERM]
    assert run.state.interrupted
    assert run.result.epochs == 1
    assert run.result.reason == "SIGTERM asked for it"


class Full(LineSubject):
    """A subject whose disk is full from some batch on."""

    full = False

    def write(self, path: Path, *, weights_only: bool) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(path, weights_only=weights_only)

    save = write


class FullInTheBackground(Full):
    """The same, written by a thread."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        return partial(self.write, weights_only=weights_only)


@pytest.mark.parametrize("policy", ["raise", "warn"])
@pytest.mark.parametrize("kind", [Full, FullInTheBackground])
def test_a_save_that_fails_when_a_signal_ends_the_run_is_logged_and_not_named_to_continue_from(
    kind: type[Full], policy: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The signal ends the process, so an error that is raised would not be seen."""
    subject, before = kind(), signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        saver = ModelCheckpoint(str(tmp_path / "m-{epoch}"), on_error=policy)
        ends = pytest.raises(CheckpointError, match="signal") if policy == "raise" else nullcontext()
        with ends, Run(subject, saver, verbose=0) as run:
            for epoch in run.epochs(3):
                for _ in run.batches([1, 2]):
                    run.log(val_loss=1.0)
                    if epoch == 1:
                        run._life.executor.writer.wait()
                        subject.full = True
                        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert caplog.text.count("signal.npz' was not written: [Errno 28] No space left on device") == 1
    assert f"resume='auto' continues from {run.state.files.newest}" in caplog.text
    assert [path.name for path in run.state.files] == ["m-1.npz"]
    assert newest_intact(tmp_path)[0].path == run.state.files.newest  # type: ignore[union-attr]


def test_an_error_that_meets_a_signal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """If the run fails before it obeys, the process still ends by the signal."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(ZeroDivisionError), Run(verbose=0) as run:
            for _ in run.epochs(1):
                signal.raise_signal(signal.SIGTERM)
                raise ZeroDivisionError("of the loop")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert "SIGTERM: ZeroDivisionError: of the loop" in caplog.text


def test_a_signal_that_comes_too_late_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), Run(verbose=0) as run:
        for _ in run.epochs(1):
            pass
        signal.raise_signal(signal.SIGINT)

    assert not run.state.interrupted
    assert run.state.requested == "SIGINT"


def test_a_run_that_was_lost_listens_to_nothing() -> None:
    gc.disable()
    try:
        lost = Run(verbose=0)
        lost.__enter__()
        lost = weakref.ref(lost)
        assert lost() is None, "nothing but its user holds a run"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Run(verbose=0):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="'SIGKILL': no process can handle this signal"), Run(signals=["SIGKILL"]):
        pass
    with pytest.raises(SettingsError, match="no such signal here; did you mean 'SIGTERM'"), Run(signals=["SIGTERN"]):
        pass


def test_a_run_in_another_thread_leaves_signals_alone() -> None:
    found: list[bool] = []
    before = handlers()

    def train() -> None:
        with Run(verbose=0):
            found.append(handlers() == before)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()

    assert found == [True]


def test_a_run_inside_another_passes_the_signal_on_to_it() -> None:
    """The outer one finishes what it does, too, and raises the interrupt."""
    with pytest.raises(KeyboardInterrupt), Run(verbose=0) as outer:
        for _ in outer.epochs(2):
            with Run(verbose=0) as inner:
                for _ in inner.epochs(2):
                    signal.raise_signal(signal.SIGINT)

    assert inner.state.interrupted
    assert outer.state.interrupted
    assert len(outer.state.epoch_metrics) == 1


# --- signals without a run


class Caught:
    """A handler that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.calls.append(number)


@pytest.fixture
def before() -> Iterator[Caught]:
    """The earlier handler of SIGTERM and SIGUSR1, which counts its calls."""
    caught, numbers = Caught(), (signal.SIGTERM, signal.SIGUSR1)
    earlier = [signal.signal(number, caught) for number in numbers]
    yield caught
    for number, handler in zip(numbers, earlier, strict=True):
        signal.signal(number, handler)


def test_a_signal_is_noted_first_and_has_its_effect_the_second_time(before: Caught) -> None:
    """Each of the signals once; those that are not named are left alone."""
    asked: list[str] = []
    signals = Signals(["SIGTERM"], asked.append)
    signal.raise_signal(signal.SIGTERM)
    assert (asked, before.calls, signals.received) == (["SIGTERM"], [], [signal.SIGTERM])
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGUSR1)
    signals.close()

    assert (asked, before.calls) == (["SIGTERM"], [signal.SIGTERM, signal.SIGUSR1])


def test_after_closing_the_first_signal_has_its_effect(before: Caught) -> None:
    """Of several, the one that came first; none if none came."""
    quiet = Signals(["SIGTERM"], print)
    quiet.close()
    quiet.exit(None)
    assert before.calls == []
    signals = Signals(["SIGTERM", "SIGUSR1"], lambda _: None)
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGTERM)
    signals.close()
    assert before.calls == []
    signals.exit(None)

    assert before.calls == [signal.SIGUSR1]


def test_a_signal_that_another_process_got_has_its_effect_here(before: Caught) -> None:
    """Unless this process received one too; a name that is no signal, such as a stop file, has no effect."""
    signals = Signals(["SIGTERM", "SIGUSR1"], lambda _: None)
    signals.record_elsewhere("run/stop")
    signals.close()
    signals.exit(None)
    assert before.calls == []
    signals.record_elsewhere("SIGUSR1")
    signals.exit(None)
    assert before.calls == [signal.SIGUSR1]


def test_without_a_loop_that_obeys_a_signal_has_its_effect_at_once(before: Caught) -> None:
    """A loop may be left without any event."""
    asked: list[str] = []
    signals = Signals(["SIGTERM"], asked.append, lambda: False)
    signal.raise_signal(signal.SIGTERM)
    signals.close()

    assert (asked, before.calls) == ([], [signal.SIGTERM])


def test_ctrl_c_that_was_raised_already_has_had_its_effect() -> None:
    """It would raise the KeyboardInterrupt a second time."""
    signals = Signals(["SIGINT"], lambda _: None)
    signal.raise_signal(signal.SIGINT)
    signals.close()
    signals.exit(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        signals.exit(None)


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ValueError()])
def test_the_interrupt_of_the_loop_ends_with_the_users_handler(
    before: Caught, error: BaseException | None, interrupted: bool
) -> None:
    """Only that interrupt: an error, or a Ctrl-C of its own, is raised as ever."""
    signals = Signals(["SIGTERM"], lambda _: None)
    signal.raise_signal(signal.SIGTERM)
    signals.close()

    assert signals.exit(error, interrupted=interrupted) == (isinstance(error, KeyboardInterrupt) and interrupted)
    assert before.calls == [signal.SIGTERM]


def test_ctrl_c_that_was_caught_is_not_raised_again() -> None:
    """But it is raised if the loop has never seen it."""
    for interrupted, ends in ((True, nullcontext()), (False, pytest.raises(KeyboardInterrupt))):
        signals = Signals(["SIGINT"], lambda _: None)
        signal.raise_signal(signal.SIGINT)
        signals.close()
        with ends:
            assert not signals.exit(None, interrupted=interrupted)


class Terminal(io.StringIO):
    """A terminal, which shows ^C before the answer."""

    def isatty(self) -> bool:
        return True


class Busy(io.StringIO):
    """A file that a signal handler has interrupted in a write."""

    def write(self, _: str) -> int:
        raise RuntimeError("reentrant call")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_is_answered_at_once_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On a terminal below the present line; also if Python's file is in use; and nowhere if there is none."""
    line = f"{name}: finishing the batch; again to stop now\n"
    for stderr, shown in ((io.StringIO(), line), (Terminal(), f"\n{line}")):
        monkeypatch.setattr(sys, "stderr", stderr)
        answer(name)
        assert stderr.getvalue() == shown
    monkeypatch.setattr(sys, "stderr", Busy())
    answer(name)
    assert capfd.readouterr().err == line
    monkeypatch.setattr(sys, "stderr", None)
    answer(name)
    assert capfd.readouterr().err == ""
