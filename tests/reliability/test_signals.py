"""A run that a signal ends finishes its batch, saves, exits by the signal, and resumes as if uninterrupted."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from trainbus import journal
from trainbus.checkpoints import newest_intact, scan

from .resuming import TRAININGS, Moment, killed_and_resumed, suffix

MOMENTS = [("batch", 23), ("epoch", 4), ("decision", 4), ("checkpoint", 3)]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "torch" else pytest.mark.exhaustive) for name in TRAININGS],
)
def test_the_run_resumed_after_a_signal_reports_what_the_uninterrupted_one_reported(name: str, tmp_path: Path) -> None:
    """Whenever the signal came; the file of the signal is removed in the end."""
    folder = tmp_path / "run"
    uninterrupted = killed_and_resumed(name, folder, batches=False)
    assert uninterrupted is not None
    kinds = itertools.cycle([signal.SIGTERM, signal.SIGINT])
    for (event, number), kind in zip(MOMENTS, kinds, strict=False):
        found = killed_and_resumed(name, folder, Moment(event, number, kind), batches=False)
        assert found is not None, (event, number)
        events = [line for line in map(without_signal, found[0]) if line.get("actions") != []]
        assert (events, found[1]) == (suffix(events, uninterrupted[0]), uninterrupted[1]), (event, number, kind)


def without_signal(line: dict[str, Any]) -> dict[str, Any]:
    """Leave out that the file of the signal is forgotten."""
    actions = [action for action in line.get("actions", []) if "signal." not in action]
    return {**line, "actions": actions} if "actions" in line else line


def run(script: str, folder: Path, *, group: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a script in a child process."""
    (folder / "train.py").write_text(textwrap.dedent(script))
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        start_new_session=group,
        timeout=120,
        check=False,
    )


LOOP = """
import os, signal
import numpy as np
from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

subject, checkpoint = LineSubject(), ModelCheckpoint("run/m-{{epoch}}", save_on={save_on})
with Run(subject, checkpoint, verbose=0, signals={signals}) as run:
    for epoch in run.epochs(3):
        for batch in run.batches(range(10), accumulate={accumulate}):
            subject.train(np.array([1.0]), np.array([2.0]))
            if (epoch, batch) == (1, 4):
                {act}
    print("not reached")
"""


def loop(folder: Path, act: str, **options: object) -> subprocess.CompletedProcess[str]:
    given = {"save_on": ("signal",), "signals": ("SIGINT", "SIGTERM"), "accumulate": 1, **options}
    return run(LOOP.format(act=act, **given), folder)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP"])
def test_the_process_goes_as_the_signal_would_have_it_after_the_batch_is_saved(name: str, tmp_path: Path) -> None:
    done = loop(tmp_path, f"os.kill(os.getpid(), signal.{name})", signals=(name,))

    found = newest_intact(tmp_path / "run")[0]
    assert done.returncode == -signal.Signals[name]
    assert found is not None
    assert found.path.name == "signal.npz"
    assert found.entry.run_state["position"] == {"epochs": 1, "mid_epoch": True, "batches": 5}
    assert done.stderr == (
        f"{name}: finishing the batch; again to stop now\n"
        f"{name}: the run ended in epoch 2 after 15 steps; resume='auto' continues from run/signal.npz\n"
    )
    assert done.stdout == ""


def test_ctrl_c_ends_as_in_every_python_program(tmp_path: Path) -> None:
    done = loop(tmp_path, "os.kill(os.getpid(), signal.SIGINT)")

    assert done.returncode == -signal.SIGINT
    assert done.stderr.splitlines() == [
        "SIGINT: finishing the batch; again to stop now",
        "SIGINT: the run ended in epoch 2 after 15 steps; resume='auto' continues from run/signal.npz",
    ]
    assert newest_intact(tmp_path / "run")[0] is not None


def test_a_second_ctrl_c_ends_at_once_and_saves_nothing_more(tmp_path: Path) -> None:
    done = loop(tmp_path, "[os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]", save_on=("signal", "exception"))

    assert done.returncode == -signal.SIGINT
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert [found.path.name for found in scan(tmp_path / "run")] == ["m-1.npz"]


def test_gradients_that_are_being_accumulated_are_used_first(tmp_path: Path) -> None:
    loop(tmp_path, "os.kill(os.getpid(), signal.SIGTERM)", accumulate=4)

    found = newest_intact(tmp_path / "run")[0]
    assert found is not None
    assert found.entry.run_state["position"]["batches"] == 8


def test_a_signal_that_is_not_named_does_what_it_always_does(tmp_path: Path) -> None:
    done = loop(tmp_path, "os.kill(os.getpid(), signal.SIGTERM)", signals=())

    assert done.returncode == -signal.SIGTERM
    assert [found.path.name for found in scan(tmp_path / "run")] == ["m-1.npz"]


SAVING = """
import os, signal
import numpy as np
from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

class Slow(LineSubject):
    saved = 0

    def save(self, path, *, weights_only):
        self.saved += 1
        if self.saved == 2:
            path.write_bytes(b"half")
            [os.kill(os.getpid(), signal.SIGTERM) for _ in range({times})]
        super().save(path, weights_only=weights_only)

with Run(Slow(), ModelCheckpoint("run/m"), verbose=0) as run:
    for epoch in run.epochs(4):
        pass
"""


@pytest.mark.parametrize(("times", "epoch"), [(1, 1), (2, 0)])
def test_a_signal_during_a_save_lets_it_be_finished_and_a_second_one_leaves_what_was_there(
    times: int, epoch: int, tmp_path: Path
) -> None:
    done = run(SAVING.format(times=times), tmp_path)

    found = newest_intact(tmp_path / "run")
    assert done.returncode == -signal.SIGTERM
    assert found[0] is not None
    assert found[0].epoch == epoch
    assert found[1] == []


KERAS = """
import os, signal
import keras, numpy as np
from trainbus.adapters.keras import KerasCallback
from trainbus.plugins import ModelCheckpoint

class Kill(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations == 13:
            os.kill(os.getpid(), signal.SIGTERM)

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
bus = KerasCallback([ModelCheckpoint("run/m-{{epoch}}.keras", {options})])
x = np.ones((40, 2), "float32")
model.fit(x, x[:, :1], batch_size=4, epochs=3, verbose=0, callbacks=[Kill(), bus])
print("not reached")
"""


@pytest.mark.parametrize(
    "options",
    [pytest.param("", id="epochs"), pytest.param("save_freq=5", id="batches", marks=pytest.mark.exhaustive)],
)
@pytest.mark.exhaustive
def test_keras_finishes_the_batch_too(options: str, tmp_path: Path) -> None:
    """Whether or not a callback listens to batches."""
    done = run(KERAS.format(options=options), tmp_path)

    found = newest_intact(tmp_path / "run")[0]
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert found is not None
    assert found.path.name == "signal.keras"
    assert found.entry.run_state["position"] == {"epochs": 1, "mid_epoch": True, "batches": 4}
    assert done.stdout == ""


NOTED = """
import os, signal, sys
import numpy as np
from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

noted = []
{install}
{hook}

def train(subject):
    signals = ("SIGINT", "SIGTERM", "SIGUSR1")
    with Run(subject, ModelCheckpoint("run/m-{{epoch}}"), verbose=0, signals=signals) as run:
        for epoch in run.epochs(3):
            for batch in run.batches(range(10)):
                subject.train(np.array([1.0]), np.array([2.0]))
                if (epoch, batch) == (1, 4):
                    os.kill(os.getpid(), signal.{name})
    return run

run = train(LineSubject())
print("after", noted, run.step, run.result.reason)
sys.exit({status})
"""


def noted(folder: Path, name: str = "SIGTERM", install: str = "", status: int = 0, hook: str = "") -> Any:
    return run(NOTED.format(name=name, install=install, status=status, hook=hook), folder)


TAKES_NOTE = "signal.signal(signal.{name}, lambda number, frame: noted.append(number))"


@pytest.mark.parametrize("status", [pytest.param(0, marks=pytest.mark.exhaustive), 7])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_after_a_handler_that_takes_note_the_code_after_the_block_runs(name: str, status: int, tmp_path: Path) -> None:
    """With the exit status that it gives; the handler is called once, and the run is saved."""
    done = noted(tmp_path, name, TAKES_NOTE.format(name=name), status)

    number = int(signal.Signals[name])
    assert (done.returncode, done.stdout) == (status, f"after [{number}] 15 {name} asked for it\n")
    assert done.stderr.splitlines()[-1].endswith("resume='auto' continues from run/signal.npz")
    found = newest_intact(tmp_path / "run")[0]
    assert found is not None
    assert found.path.name == "signal.npz"


def test_a_handler_that_exits_gives_the_status(tmp_path: Path) -> None:
    """Its exception is what leaves the block."""
    done = noted(tmp_path, "SIGTERM", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))")

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.splitlines()[-1].endswith("resume='auto' continues from run/signal.npz")
    assert newest_intact(tmp_path / "run")[1] == []


def test_an_excepthook_of_the_user_gets_the_interrupt(tmp_path: Path) -> None:
    """Tools that upload the end of a run listen there."""
    hook = "sys.excepthook = lambda kind, *_: print('hook', kind.__name__)"
    done = noted(tmp_path, "SIGINT", hook=hook)

    assert (done.returncode, done.stdout) == (-signal.SIGINT, "hook KeyboardInterrupt\n")


CAUGHT = """
import os, signal
from pathlib import Path
from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

def interrupt():
    {act}

with Run(LineSubject(), ModelCheckpoint("run/m-{{epoch}}"), verbose=0) as run:
    {body}
    print("test phase", run.epoch, run.step)
print("after", run.result.epochs, run.result.reason)
"""
AROUND_ALL = """
    try:
        for epoch in run.epochs(3):
            for batch in run.batches(range(10)):
                if (epoch, batch) == (1, 4):
                    interrupt()
    except KeyboardInterrupt:
        pass
"""
AROUND_EPOCH = """
    for epoch in run.epochs(3):
        try:
            for batch in run.batches(range(10)):
                if (epoch, batch) == (1, 4):
                    interrupt()
        except KeyboardInterrupt:
            break
"""
AROUND_BATCHES = """
    for epoch in run.epochs(3):
        try:
            for batch in run.batches(range(10)):
                if (epoch, batch) == (1, 4):
                    interrupt()
        except KeyboardInterrupt:
            pass
"""
KILL = "os.kill(os.getpid(), signal.SIGINT)"
STOP_FILE = 'Path("run/stop").touch(); run._life.stop_requests.check_stop_file()'


@pytest.mark.parametrize(
    "act", [pytest.param(KILL, id="ctrl-c"), pytest.param(STOP_FILE, id="stop-file", marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize("body", [AROUND_ALL, AROUND_EPOCH, AROUND_BATCHES], ids=["all", "epoch", "batches"])
@pytest.mark.exhaustive
def test_an_interrupt_that_the_loop_catches_is_not_raised_again(act: str, body: str, tmp_path: Path) -> None:
    """What comes after the loop runs, and so does the script; the loop ends, and the run is saved."""
    done = run(CAUGHT.format(act=act, body=body.strip()), tmp_path)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    asked = "SIGINT" if act == KILL else str(tmp_path / "run" / "stop")
    assert lines[0] == "test phase 1 15"
    assert lines[1] == f"after {2 if body is AROUND_BATCHES else 1} {asked} asked for it"
    assert done.stderr.splitlines()[-1].startswith(f"{asked}: the run ended in epoch 2 after 15 steps; resume='auto' c")


def test_a_sigterm_that_the_loop_catches_still_ends_the_process(tmp_path: Path) -> None:
    """``except KeyboardInterrupt`` is meant for Ctrl-C; a scheduler must get its way."""
    done = run(CAUGHT.format(act="os.kill(os.getpid(), signal.SIGTERM)", body=AROUND_ALL.strip()), tmp_path)

    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "test phase 1 15\n")


KERAS_NOTED = KERAS.replace("model = keras", "noted = []\n{install}\nmodel = keras", 1).replace("not reached", "after")


@pytest.mark.exhaustive
def test_keras_ends_the_fit_after_a_handler_that_takes_note(tmp_path: Path) -> None:
    """The code after ``fit`` runs."""
    install = TAKES_NOTE.format(name="SIGTERM")
    done = run(KERAS_NOTED.format(options="", install=install), tmp_path)

    assert (done.returncode, done.stdout) == (0, "after\n"), done.stderr
    found = newest_intact(tmp_path / "run")[0]
    assert found is not None
    assert found.path.name == "signal.keras"


@pytest.mark.exhaustive
def test_keras_ends_a_ctrl_c_with_the_helpful_line(tmp_path: Path) -> None:
    """And no traceback of Keras."""
    done = run(KERAS.format(options="").replace("SIGTERM", "SIGINT"), tmp_path)

    assert done.returncode == -signal.SIGINT
    assert [line.partition(";")[0] for line in done.stderr.splitlines()[-2:]] == [
        "SIGINT: finishing the batch",
        "SIGINT: the run ended in epoch 2 after 14 steps",
    ]


WORKERS = """
import os, signal
import torch
from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.01)
loader = torch.utils.data.DataLoader(torch.ones(64, 2), 4, num_workers=2)
with Run(TorchSubject(model, optimizer), ModelCheckpoint("run/m"), verbose=0) as run:
    for epoch in run.epochs(3):
        for batch, rows in enumerate(run.batches(loader)):
            if (epoch, batch) == (1, 5):
                os.killpg(0, signal.SIGINT)
            model(rows).sum().backward()
            optimizer.step()
"""


@pytest.mark.exhaustive
def test_the_workers_of_a_loader_leave_a_ctrl_c_to_the_process_that_trains(tmp_path: Path) -> None:
    """A terminal sends it to all of them."""
    done = run(WORKERS, tmp_path, group=True)

    found = newest_intact(tmp_path / "run")[0]
    assert done.returncode == -signal.SIGINT, done.stderr
    assert found is not None
    assert found.entry.run_state["position"]["batches"] == 6
    assert done.stderr.splitlines()[-1].endswith("resume='auto' continues from run/signal.pt")


WRITING = """
import os, signal, sys, threading
import torch
from pathlib import Path
from trainbus import Run, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
asked = threading.Event()
main = threading.main_thread().ident

def act():
    {act}
    asked.set()

def is_waited_for():
    frame, names = sys._current_frames()[main], []
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return "end" in names and "wait" in names

class Slow(TorchSubject):
    def snapshot_writer(self, *, weights_only):
        write, slow = super().snapshot_writer(weights_only=weights_only), run.step == {saved}
        def waits(path):
            if sys.argv[1:] and slow:
                asked.wait()
                {then}
            return write(path)
        return waits

class Notes:
    @hookimpl
    def on_decision(self, run, decision):
        print(*sorted({{each.by for each in decision}}))

    @hookimpl
    def on_train_end(self):
        print("on_train_end")

saves = ModelCheckpoint("run/{name}", save_freq={save_freq!r}, background=True, save_on={save_on}, keep_last={keep})
run = Run(Slow(model, torch.optim.SGD(model.parameters(), 0.1)), [saves, Notes()], verbose=0, resume="auto")
with run:
    for epoch in run.epochs(4):
        for batch in run.batches(range(3)):
            run.log(loss=1.0)
            if sys.argv[1:] and run.step == {step}:
                act()
"""
SENT = "os.kill(os.getpid(), signal.{})".format
STOPPED = 'Path("run/stop").touch(); run._life.stop_requests.check_stop_file()'


def written(folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Train in a process that is asked to end while it writes a file, then resume it to its end."""
    known: dict[str, object] = {"name": "m-{epoch}", "save_freq": "epoch", "save_on": ("signal",), "keep": None}
    known |= {"act": SENT("SIGTERM"), "then": "pass", "step": 6, **options}
    known = {"saved": known["step"], **known}
    (folder / "train.py").write_text(WRITING.format(**known))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    call = partial(subprocess.run, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    first = call([sys.executable, "train.py", "asked"])
    assert first.returncode in (-signal.SIGTERM, -signal.SIGINT), first.stderr
    second = call([sys.executable, "train.py"])
    assert second.returncode == 0, second.stderr
    return first


def listed_in_journal(folder: Path) -> list[str]:
    (record,) = journal.read(folder / "run" / journal.NAME)
    return sorted(Path(each.path).stem for each in record.events if isinstance(each, journal.CheckpointSaved))


MS = ["m-1", "m-2", "m-3", "m-4"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, MS),
        *(
            pytest.param(options, expected, marks=pytest.mark.exhaustive)
            for options, expected in (
                ({"act": SENT("SIGINT")}, MS),
                ({"act": STOPPED}, MS),
                ({"save_on": ()}, MS),
                ({"step": 3}, MS),
                ({"step": 9, "keep": 1}, MS),
                ({"name": "m-{step}", "save_freq": "4 steps", "saved": 4}, ["m-12", "m-4", "m-8"]),
                ({"name": "m", "step": 7, "saved": 6}, ["m"] * 4),
            )
        ),
    ],
    ids=str,
)
@pytest.mark.exhaustive
def test_the_journal_names_a_file_that_was_being_written_when_the_run_was_asked_to_end(
    options: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    """Once, after the resume; the file of the signal is not named, as nothing that the signal has added is."""
    written(tmp_path, **options)

    assert listed_in_journal(tmp_path) == sorted(expected)


@pytest.mark.exhaustive
def test_a_second_ctrl_c_while_a_file_is_waited_for_calls_every_plugin_and_loses_no_line(tmp_path: Path) -> None:
    again = f"[None for _ in iter(is_waited_for, True)]; {SENT('SIGINT')}"
    first = written(tmp_path, act=SENT("SIGINT"), then=again)

    assert first.stdout.splitlines()[-2:] == ["request", "on_train_end"]
    assert listed_in_journal(tmp_path) == MS
