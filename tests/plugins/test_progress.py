"""Tests of progress: it is printed on request, lines stay complete, terminals get one bar and files none."""

import io
import os
import re
import sys
import termios
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trainbus import Run, SettingsError, decision, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.plugins.progress import Progress
from trainbus.testing import LineSubject

LOSSES = [0.31, 0.3, 0.4, 0.5, 0.6, 0.7]


class Drawing(LineSubject):
    """A subject whose framework draws its own progress."""

    def draws_progress(self) -> bool:
        return True


def train(
    callbacks: Any,
    losses: Any = LOSSES,
    *,
    batches: int = 0,
    subject: LineSubject | None = None,
    first: int = 0,
    **options: Any,
) -> Run:
    with Run(subject or LineSubject(), callbacks, **options) as run:
        for epoch in run.epochs(len(losses), initial_epoch=first):
            for _ in run.batches(range(batches)):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=losses[epoch])
    return run


def callbacks(stopping: Any, saving: Any = 0, reducing: Any = 0) -> list[Any]:
    return [
        EarlyStopping(patience=3, verbose=stopping, restore_best_weights=True),
        ModelCheckpoint("best.npz", save_best_only=True, verbose=saving),
        ReduceLROnPlateau(patience=2, verbose=reducing),
    ]


STOPPING = [
    "Epoch 5: early stopping: val_loss 0.6 did not improve on 0.3 (epoch 2) for the 3rd time",
    "Epoch 5: restoring the model: best val_loss 0.30000 in epoch 2",
]
SAVING = [
    "Epoch 1: val_loss 0.31000 is the first value, saving model to best.npz",
    "Epoch 2: val_loss improved from 0.31000 to 0.30000, saving model to best.npz",
]
STALLED = "val_loss 0.5 did not improve on 0.3 (epoch 2) by more than 0.0001 for the 2nd time"
REDUCING = [f"Epoch 4: ReduceLROnPlateau reducing learning rate to 0.05: {STALLED}"]
EPOCH = re.compile(r"Epoch (\d)/6 - \d+\.\ds - val_loss: 0\.\d{4} - learning_rate: 0\.\d+$")


def split(text: str) -> tuple[list[str], list[str]]:
    """Numbers of the epochs that have a line, and all other lines."""
    lines = text.splitlines()
    return [match[1] for line in lines if (match := EPOCH.match(line))], [x for x in lines if not EPOCH.match(x)]


def test_without_verbose_nothing_is_printed_and_no_plugin_listens_to_batches():
    """With verbose=0 everywhere nothing is printed, and no plugin listens to batches for it."""
    assert not Run(LineSubject(), callbacks(0)).has_batch_listeners


def test_a_set_rate_has_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    """With the plugin, the rates that follow and the reason."""

    class Planned:
        @hookimpl
        def on_epoch_begin(self, epoch: int) -> Any:
            return decision.set_learning_rate([0.5, 0.25, 0.125][epoch], reason="as planned")

    train([Planned()], LOSSES[:3], verbose=2)

    assert [line for line in capfd.readouterr().out.splitlines() if "setting" in line] == [
        f"Epoch {epoch}: Planned setting learning rate to {rate}: as planned" for epoch, rate in [(2, 0.25), (3, 0.125)]
    ]


def test_silence(capfd: pytest.CaptureFixture[str]):
    """With verbose=0 everywhere nothing is printed."""
    train(callbacks(0))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((1, 0, 0), STOPPING),
        ((0, 1, 0), SAVING),
        ((0, 0, 1), REDUCING),
        ((2, 2, 2), [*SAVING, *REDUCING, *STOPPING]),
        (("auto", 0, 0), STOPPING),
    ],
)
def test_a_file_gets_a_line_for_each_epoch_and_each_verbose_decision(
    asked: Any, expected: list[str], capfd: pytest.CaptureFixture[str]
):
    """In a file each epoch has one line, each decision of a verbose callback another, and nothing is redrawn."""
    train(callbacks(*asked))
    out, err = capfd.readouterr()
    epochs, lines = split(out)
    assert lines == expected
    assert epochs == ["1", "2", "3", "4", "5"]
    assert "\r" not in out
    assert err == ""


@pytest.mark.parametrize("verbose", [1, 2, "auto", True])
def test_a_verbose_run_prints_whatever_its_callbacks_ask_for(verbose: Any, capfd: pytest.CaptureFixture[str]):
    """A line for each epoch and each decision, those of silent callbacks and of the loop, too."""
    train(callbacks(0), verbose=verbose)
    with Run(verbose=verbose) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)
            run.stop("seen enough")
    out, err = capfd.readouterr()
    epochs, lines = split(out)
    assert epochs == ["1", "2", "3", "4", "5"]
    assert [line for line in lines if not line.startswith("Epoch 1/3")] == [
        *SAVING,
        *REDUCING,
        *STOPPING,
        "Epoch 1: early stopping: seen enough",
    ]
    assert err == ""


@pytest.mark.parametrize("verbose", [0, False])
def test_a_silent_run_prints_nothing_whatever_its_callbacks_ask_for(verbose: Any, capfd: pytest.CaptureFixture[str]):
    """Nor does any plugin listen to batches for it."""
    run = train(callbacks(2, 1, "auto"), verbose=verbose)
    assert capfd.readouterr() == ("", "")
    assert not run.has_batch_listeners


def test_a_verbose_run_shows_one_bar_in_a_terminal():
    """Also without a callback; with 2 it prints lines there, too."""
    with terminal() as lines:
        train(callbacks(2, 0, 2), batches=3, verbose=1)
        train([], [0.5], verbose="auto")
        train([], [0.5], verbose=2)
    assert len([line for line in lines if "|" in line]) == 2
    assert len([line for line in lines if re.match(r"Epoch 1/1 - ", line)]) == 1


def test_a_verbose_run_beside_a_framework_that_draws_prints_decisions_only(capfd: pytest.CaptureFixture[str]):
    """Its lines of epochs would repeat the framework's."""
    train(callbacks(0), verbose=2, subject=Drawing())
    assert [line for line in capfd.readouterr().out.splitlines() if line] == [*SAVING, *REDUCING, *STOPPING]


@pytest.mark.parametrize("verbose", [3, -1, "1", "yes", 1.5, [], "Auto", 2.0])
def test_other_levels_are_refused(verbose: Any):
    """Before the run, with those that there are."""
    with pytest.raises(SettingsError, match=rf"verbose={re.escape(repr(verbose))}: give 0, 1, 2 or 'auto', or None"):
        Run(verbose=verbose)


def test_decisions_follow_their_epoch(capfd: pytest.CaptureFixture[str]):
    """A decision's line is below the line of the epoch that led to it."""
    train(callbacks(0, 1))
    lines = capfd.readouterr().out.splitlines()
    assert [line[:8] for line in lines[:4]] == ["Epoch 1/", "Epoch 1:", "Epoch 2/", "Epoch 2:"]


def test_decisions_of_the_loop_are_printed(capfd: pytest.CaptureFixture[str]):
    """Decisions of the loop itself are printed if anything is."""
    with Run(Drawing(), EarlyStopping(monitor="loss", patience=9, verbose=1)) as run:
        for _ in run.epochs(5):
            run.log(loss=1.0)
            run.stop("seen enough")
    assert capfd.readouterr().out.strip() == "Epoch 1: early stopping: seen enough"


def test_a_resumed_run_prints_its_checkpoint(capfd: pytest.CaptureFixture[str]):
    """One line before all others, if anything may be printed; a new run prints none."""
    for verbose, epochs in ((1, 2), (1, 3), (0, 4)):
        with Run(LineSubject(), ModelCheckpoint("run/m-{epoch}", verbose=verbose), resume="auto") as run:
            for _ in run.epochs(epochs):
                for _ in run.batches(range(3)):
                    pass
    first, second = [line for line in capfd.readouterr().out.splitlines() if "Epoch 1/" in line or "Resumed" in line]
    assert (first.startswith("Epoch 1/2"), second) == (True, "Resumed from run/m-2.npz: epoch 2, step 6")


@pytest.mark.parametrize("epochs", [2, 4])
def test_a_resumed_run_does_not_repeat_what_the_earlier_run_has_printed(epochs: int, capfd: pytest.CaptureFixture[str]):
    """The decision that saved the checkpoint is executed to its end again, and printed once."""
    for number in (2, epochs):
        with Run(LineSubject(), callbacks(1, 1, 1), resume="auto") as run:
            for epoch in run.epochs(number):
                run.log(val_loss=1.0 / (epoch + 1))
    lines = capfd.readouterr().out.splitlines()
    saves = [line for line in lines if "saving model to" in line]
    assert [line.partition(":")[0] for line in saves] == [f"Epoch {epoch + 1}" for epoch in range(epochs)]


def test_an_interruption_is_no_early_stop(capfd: pytest.CaptureFixture[str]):
    """A stop by a signal is printed as an interruption."""
    with suppress(KeyboardInterrupt), Run(Drawing(), [Progress()], signals=()) as run:
        for _ in run.epochs(5):
            run._life.stop_requests.request("SIGTERM")
    assert capfd.readouterr().out.splitlines()[-1] == "Epoch 1: interrupted: SIGTERM asked for it"


def test_several_rates_and_weights_only(capfd: pytest.CaptureFixture[str]):
    """A checkpoint of every epoch has no reason; one of weights only is named so."""
    train(ModelCheckpoint("w-{epoch}.npz", save_weights_only=True, verbose=1), [0.5], subject=Drawing())
    assert capfd.readouterr().out == "\nEpoch 1: saving weights to w-1.npz\n"


def test_lines_stay_complete_next_to_a_framework_that_draws(capfd: pytest.CaptureFixture[str]):
    """If the framework's bar has left its line open, decisions begin on a new line."""
    with Run(Drawing(), callbacks(1, 1, 1)) as run:
        for epoch in run.epochs(6):
            print(f"\rtheirs {epoch}", end="")
            with run.validation():
                run.log(loss=LOSSES[epoch])
    text = re.sub("\rtheirs .", "", capfd.readouterr().out)
    assert [line for line in text.splitlines() if line] == [*SAVING, *REDUCING, *STOPPING]
    assert text.endswith("\n".join(["", *STOPPING, ""]))


def test_metrics_that_are_no_numbers(capfd: pytest.CaptureFixture[str]):
    """Vectors are left out of the lines, small numbers keep their digits, NaN is NaN."""
    with Run(None, EarlyStopping(monitor="loss", verbose=2, patience=9)) as run:
        for _ in run.epochs(1):
            run.log(loss=float("nan"), small=0.00001234, zero=0, many=np.ones(3))
    assert capfd.readouterr().out.partition("s - ")[2] == "loss: nan - small: 1.2340e-05 - zero: 0.0000\n"


@contextmanager
def terminal() -> Generator[list[str]]:
    """Standard output and error are a terminal, 100 columns wide; afterwards its lines, as a person sees them."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (30, 100))
    data = bytearray()

    def read() -> None:
        with suppress(OSError):
            while piece := os.read(master, 4096):
                data.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    lines: list[str] = []
    try:
        with os.fdopen(slave, "w") as file, redirect_stdout(file), redirect_stderr(file):
            yield lines
    finally:
        reader.join()
        os.close(master)
    for line in data.decode().replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())


@pytest.mark.parametrize("level", [1, "auto"])
def test_a_terminal_gets_one_bar(level: Any):
    """Several verbose callbacks share one bar, which stays below the decisions and ends where the training ended."""
    with terminal() as lines:
        train(callbacks(level, level, level), batches=3)
    bars = [line for line in lines if "|" in line]
    assert len(bars) == 1
    assert re.fullmatch(r"Epoch 5/6  83%\|\S+ +\| \d\d:\d\d<\d\d:\d\d, .*loss: 1.0000 - val_loss: 0.6000.*", bars[0])
    assert [line for line in lines if line not in bars] == [*SAVING, *REDUCING, STOPPING[0], STOPPING[1], ""]


def test_level_two_has_no_bar():
    """verbose=2 prints lines, also on a terminal and if other callbacks would use a bar, as in Keras."""
    with terminal() as lines:
        train(callbacks(1, 2))
    assert not [line for line in lines if "|" in line]
    assert split("\n".join(lines))[0] == ["1", "2", "3", "4", "5"]


def test_batches_are_listened_to_only_for_a_bar():
    """Only a bar listens to batches: not lines, nor decisions next to a framework's own bar."""
    with terminal():
        heard = [Run(LineSubject(), callbacks(level)).has_batch_listeners for level in (0, 1, 2)]
        beside = Run(Drawing(), callbacks(1)).has_batch_listeners
    assert (heard, beside) == ([False, True, False], False)


def test_a_notebook_gets_a_bar(monkeypatch: pytest.MonkeyPatch):
    """In a notebook there is no terminal, and yet a bar can be drawn; in IPython's shell a terminal is needed."""
    for application, drawn in [("IPKernelApp", True), ("TerminalIPythonApp", False)]:
        shell = SimpleNamespace(config={application: {}})
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))  # type: ignore[misc]
        assert Run(LineSubject(), callbacks(1)).has_batch_listeners == drawn


def test_an_interruption_leaves_a_clean_line():
    """After Ctrl-C the bar's line is ended, so that later output is below it."""

    def interrupted() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    with terminal() as lines, suppress(KeyboardInterrupt), Run(None, EarlyStopping(monitor="loss", verbose=1)) as run:
        for _ in run.epochs(5):
            for _ in run.batches(interrupted()):
                run.log(loss=1.0)
    assert len([line for line in lines if line.startswith("Epoch 1/5")]) == 1
    assert lines[-1] == ""


def test_the_bar_of_a_resumed_run_begins_at_its_epoch():
    """A run that begins with a later epoch begins there on the bar too."""
    with terminal() as lines:
        train(callbacks(0, 1), first=4)
    bar = [line for line in lines if "|" in line]
    assert len(bar) == 1
    assert bar[0].startswith("Epoch 6/6 100%")


def test_without_planned_numbers_the_bar_counts():
    """Without a planned number of epochs or batches the bar counts."""
    with terminal() as lines, Run(None, EarlyStopping(monitor="loss", patience=9, verbose=1)) as run:
        for epoch in range(3):
            run.begin_epoch(epoch)
            for _ in run.batches(iter(range(3))):
                run.log(loss=0.25)
            run.end_epoch()
    assert len(lines) == 2
    assert re.fullmatch(r"Epoch 3 \d\d:\d\d, loss: 0.2500", lines[0])


def test_progress_can_be_listed_by_name(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Listed by name, it prints every decision, and once, even if callbacks ask for it too."""
    monkeypatch.setenv("TRAINBUS_PLUGINS", "progress")
    train(callbacks(1))
    epochs, lines = split(capfd.readouterr().out)
    assert epochs == ["1", "2", "3", "4", "5"]
    assert lines == [*SAVING, *REDUCING, *STOPPING]


def test_progress_is_a_plugin_like_others(capfd: pytest.CaptureFixture[str]):
    """A Progress object can be in the list."""
    train([*callbacks(0), Progress({"ModelCheckpoint": 1}, bar=False)])
    assert [line for line in capfd.readouterr().out.splitlines() if line] == SAVING


@pytest.mark.parametrize(("open_line", "before"), [(True, [""]), (False, [])])
def test_an_open_line_of_the_framework_is_ended(capfd: pytest.CaptureFixture[str], open_line: bool, before: list[str]):
    """One that a bar has left; a framework that prints complete lines gets no empty ones."""
    train([*callbacks(0), Progress({"ModelCheckpoint": 1}, bar=False, open_line=open_line)])
    assert capfd.readouterr().out.splitlines() == [each for line in SAVING for each in (*before, line)]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8", "utf-16"])
@pytest.mark.parametrize("name", ["val_准确率", "val_τ", "потеря", "val_😀", "val_précision", "acc→", "loss"])
def test_names_that_the_output_cannot_encode_are_escaped(
    monkeypatch: pytest.MonkeyPatch, encoding: str, name: str
) -> None:
    """No line is lost and progress goes on, with lines and with a bar; what can be shown is shown as it is."""
    for tty in (False, True):
        outputs = {}
        for stream in ("stdout", "stderr"):
            outputs[stream] = io.BytesIO()
            text = io.TextIOWrapper(outputs[stream], encoding, "strict", write_through=True)
            text.isatty = lambda tty=tty: tty  # type: ignore[method-assign]
            monkeypatch.setattr(sys, stream, text)
        settings = [EarlyStopping(monitor=name, mode="min", verbose=1, patience=2)]
        with Run(LineSubject(), settings) as run:
            for _ in run.epochs(3):
                run.log({name: 1.0})
        printed = outputs["stdout"].getvalue().decode(encoding)
        monkeypatch.undo()

        assert not run.failures
        shown = name.encode(encoding, "backslashreplace").decode(encoding)
        assert f"Epoch 3: early stopping: {shown} 1 did not improve" in printed
        assert printed.count(f" - {shown}: 1.0000") == (0 if tty else 3)
        bar = outputs["stderr"].getvalue().decode(encoding)
        assert (f"{shown}: 1.0000" in bar) == tty
