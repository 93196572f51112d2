"""A run that a signal ends finishes its batch, saves, exits by the signal, and resumes as if uninterrupted."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from trainbus.checkpoints import newest_intact, scan

from .resuming import TRAININGS, Moment, killed_and_resumed, suffix

MOMENTS = [("batch", 23), ("epoch", 4), ("decision", 4), ("checkpoint", 3)]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("torch", "sgd") else pytest.mark.exhaustive) for name in TRAININGS],
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
    assert (
        done.stderr == f"{name}: the run ended in epoch 2 after 15 steps; resume='auto' continues from run/signal.npz\n"
    )
    assert done.stdout == ""


def test_ctrl_c_ends_as_in_every_python_program(tmp_path: Path) -> None:
    done = loop(tmp_path, "os.kill(os.getpid(), signal.SIGINT)")

    assert done.returncode == -signal.SIGINT
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt: SIGINT"
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
def test_keras_finishes_the_batch_too(options: str, tmp_path: Path) -> None:
    """Whether or not a callback listens to batches."""
    done = run(KERAS.format(options=options), tmp_path)

    found = newest_intact(tmp_path / "run")[0]
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert found is not None
    assert found.path.name == "signal.keras"
    assert found.entry.run_state["position"] == {"epochs": 1, "mid_epoch": True, "batches": 4}
    assert done.stdout == ""


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


def test_the_workers_of_a_loader_leave_a_ctrl_c_to_the_process_that_trains(tmp_path: Path) -> None:
    """A terminal sends it to all of them."""
    done = run(WORKERS, tmp_path, group=True)

    found = newest_intact(tmp_path / "run")[0]
    assert done.returncode == -signal.SIGINT, done.stderr
    assert found is not None
    assert found.entry.run_state["position"]["batches"] == 6
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt: SIGINT"
