"""The laws of requests to end a run: signals are heard while it is open, and a stop file does the same."""

import gc
import itertools
import signal
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from trainbus import Run, SettingsError
from trainbus.checkpoints import newest_intact
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject


def handlers() -> list[object]:
    return [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]


def test_after_a_run_signals_do_what_they_did_before() -> None:
    """Whatever ended it."""
    before = handlers()
    with Run(progress=False):
        assert handlers() != before
    assert handlers() == before

    with pytest.raises(ZeroDivisionError), Run(progress=False):
        raise ZeroDivisionError
    assert handlers() == before


def test_a_handler_of_the_users_own_is_called_when_the_run_is_over() -> None:
    heard: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"), Run(progress=False) as run:
            for _ in run.epochs(3):
                signal.raise_signal(signal.SIGTERM)
                assert heard == []
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]
    assert run.state.interrupted
    assert run.result.epochs == 1
    assert run.result.reason == "SIGTERM asked for it"


class Full(LineSubject):
    """One whose disk is full from some moment on."""

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
def test_a_save_that_fails_when_a_signal_ends_the_run_is_told_and_not_named_as_the_way_on(
    kind: type[Full], policy: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The process goes as the signal has it, so that no error that would be raised is seen."""
    subject, before = kind(), signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        saver = ModelCheckpoint(str(tmp_path / "m-{epoch}"), on_error=policy)
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"), Run(subject, saver, progress=False) as run:
            for epoch in run.epochs(3):
                for _ in run.batches([1, 2]):
                    run.log(val_loss=1.0)
                    if epoch == 1:
                        run._executor.writer.wait()
                        subject.full = True
                        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert caplog.text.count("signal.npz' was not written: [Errno 28] No space left on device") == 1
    assert f"resume='auto' continues from {run.state.files[-1]}" in caplog.text
    assert [path.name for path in run.state.files] == ["m-1.npz"]
    assert newest_intact(tmp_path)[0].path == run.state.files[-1]  # type: ignore[union-attr]


def test_an_error_that_meets_a_signal_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Where the run fails before it obeys, the process goes as the signal has it all the same."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(ZeroDivisionError), Run(progress=False) as run:
            for _ in run.epochs(1):
                signal.raise_signal(signal.SIGTERM)
                raise ZeroDivisionError("of the loop")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert "SIGTERM: ZeroDivisionError: of the loop" in caplog.text


def test_a_signal_that_comes_too_late_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), Run(progress=False) as run:
        for _ in run.epochs(1):
            pass
        signal.raise_signal(signal.SIGINT)

    assert not run.state.interrupted
    assert run.state.requested == "SIGINT"


def test_a_run_that_was_lost_hears_nothing() -> None:
    gc.disable()
    try:
        lost = Run(progress=False)
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
        with Run(progress=False):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="'SIGKILL': the system lets no process hear it"), Run(signals=["SIGKILL"]):
        pass
    with pytest.raises(SettingsError, match="no such signal here; did you mean 'SIGTERM'"), Run(signals=["SIGTERN"]):
        pass


def test_a_run_in_another_thread_leaves_signals_alone() -> None:
    found: list[bool] = []
    before = handlers()

    def train() -> None:
        with Run(progress=False):
            found.append(handlers() == before)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()

    assert found == [True]


def test_a_run_inside_another_gives_the_signal_on_to_it() -> None:
    with pytest.raises(KeyboardInterrupt), Run(progress=False) as outer:
        for _ in outer.epochs(2):
            with Run(progress=False) as inner:
                for _ in inner.epochs(2):
                    signal.raise_signal(signal.SIGINT)

    assert inner.state.interrupted
    assert not outer.state.interrupted
    assert len(outer.state.epoch_metrics) == 0


@pytest.mark.parametrize("endless", [True, False], ids=["in an epoch", "at its end"])
def test_a_stop_file_ends_the_run_as_ctrl_c_does_and_is_taken_away(tmp_path: Path, *, endless: bool) -> None:
    stop = tmp_path / "stop"
    with pytest.raises(KeyboardInterrupt), Run(LineSubject(), ModelCheckpoint(tmp_path / "m"), progress=False) as run:
        for _ in run.epochs(3):
            stop.touch()
            for _ in run.batches(itertools.count() if endless else range(2)):
                pass

    found = newest_intact(tmp_path)[0]
    assert found is not None
    assert found.path.name == "signal.npz"
    assert run.result.reason == f"{stop} asked for it"
    assert not stop.exists()


def test_a_stop_file_from_before_the_run_is_taken_away_unheeded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stop").touch()
    with Run(LineSubject(), ModelCheckpoint(tmp_path / "m"), progress=False) as run:
        list(run.epochs(2))

    assert run.result.epochs == 2
    assert "was there before the run began, and is removed" in caplog.text
    assert not (tmp_path / "stop").exists()


def test_a_file_of_that_name_that_holds_something_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("words to leave out")
    with Run(LineSubject(), ModelCheckpoint(tmp_path / "m"), progress=False) as run:
        list(run.epochs(2))

    assert run.result.epochs == 2
    assert (tmp_path / "stop").exists()
