"""Trainings that are killed and resumed, and whether each reports the same events.

``python -m tests.reliability.resuming`` kills each training after each of eleven epochs and in the middle of each, and
prints a table.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from trainbus import Decision, Run, hookimpl
from trainbus.capabilities import HasLearningRate, HasWeights
from trainbus.decision import Save, Stop
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .listing import without_history

EPOCHS = 12
SCORES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.6, 3.7, 2.0, 2.5, 2.6, 2.7, 2.8]
"""``val_score`` of each epoch, so that everything happens: better, worse, slower, stopped."""
ROWS, BATCH = 40, 8


class Moment(NamedTuple):
    """When to die: at which event of a kind, counted from 1, and by which signal."""

    event: str
    number: int
    signal: signal.Signals = signal.SIGKILL


class Witness:
    """A plugin that records every event that could differ in another run, and dies at the given one."""

    def __init__(self, file: TextIO, moment: Moment | None) -> None:
        self.file = file
        self.moment = moment
        self.seen: dict[str, int] = {}

    def note(self, event: str, run: Run, **fields: Any) -> None:
        self.file.write(json.dumps({"event": event, "epoch": run.epoch, "step": run.step, **fields}) + "\n")
        self.die(event)

    def die(self, event: str) -> None:
        self.file.flush()
        self.seen[event] = self.seen.get(event, 0) + 1
        if self.moment is not None and self.moment[:2] == (event, self.seen[event]):
            os.kill(os.getpid(), self.moment.signal)

    @hookimpl
    def on_batch_end(self, run: Run) -> None:
        self.note("batch", run, weights=digest(run.subject))

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        assert isinstance(run.subject, HasLearningRate)
        rates = dict(run.subject.learning_rates())
        values = {name: float(value) for name, value in metrics.items()}
        self.note("epoch", run, rates=rates, metrics=values, weights=digest(run.subject))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        self.note("decision", run, actions=[str(action) for action in decision])
        saves = [action.path for action in decision if isinstance(action, Save)]
        stops = [action.reason for action in decision if isinstance(action, Stop)]
        self.file.write(json.dumps({"event": "saved", "epoch": run.epoch, "paths": saves}) + "\n" if saves else "")
        self.file.write(json.dumps({"event": "stopped", "epoch": run.epoch, "reasons": stops}) + "\n" if stops else "")

    @hookimpl
    def on_checkpoint(self) -> None:
        self.die("checkpoint")


def digest(subject: object) -> str:
    """Return a digest of all weights."""
    assert isinstance(subject, HasWeights)
    weights = hashlib.sha256()
    for name, array in subject.weights():
        weights.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return weights.hexdigest()[:16]


def callbacks(folder: Path, *, batches: bool) -> list[Any]:
    """Return all callbacks with state; with ``batches`` also checkpoints within epochs."""
    return [
        EarlyStopping(monitor="val_score", mode="min", patience=4, restore_best_weights=True),
        ReduceLROnPlateau(monitor="val_score", mode="min", patience=2, factor=0.5),
        ModelCheckpoint(str(folder / "best"), monitor="val_score", mode="min", save_best_only=True, save_last=True),
        *([ModelCheckpoint(str(folder / "steps-{step}"), save_freq="3 steps", keep_last=2)] if batches else []),
    ]


def data() -> tuple[Any, Any]:
    """Rows and labels that any linear model can learn a little."""
    random = np.random.RandomState(0)
    x = random.randn(ROWS, 6).astype("float32")
    return x, (x[:, 0] + 0.1 * random.randn(ROWS) > 0).astype("int64")


def torch(listed: list[Any], resume: Any) -> Run:
    """Shuffled, with dropout, a scheduler, and a loader that uses its own generator."""
    import torch

    from trainbus.adapters.torch import TorchSubject

    torch.manual_seed(1)
    x, y = (torch.from_numpy(array) for array in data())
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), BATCH, shuffle=True, generator=torch.Generator().manual_seed(2)
    )
    with Run(TorchSubject(model, optimizer, scheduler=scheduler), listed, resume=resume) as run:
        for epoch in run.epochs(EPOCHS):
            for rows, labels in run.batches(loader):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(rows + 0.01 * torch.randn_like(rows)), labels)
                loss.backward()
                optimizer.step()
                run.log(loss=loss, count=len(rows))
            scheduler.step()
            with run.validation():
                run.log(score=SCORES[epoch])
    return run


def keras(listed: list[Any], resume: Any) -> Run:
    """Shuffled, with dropout and a metric that has a state."""
    import keras

    from trainbus.adapters.keras import KerasCallback

    class Scripted(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_score"] = SCORES[epoch]

    keras.utils.set_random_seed(1)
    x, y = data()
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    bus = KerasCallback(listed, resume=resume)
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[Scripted(), bus])
    return bus.run


def _partial_fit(estimator: Any, listed: list[Any], resume: Any) -> Run:
    from trainbus.adapters.sklearn import SklearnSubject

    np.random.seed(1)  # noqa: NPY002 - the global generator is what scikit-learn draws from
    x, y = data()
    with Run(SklearnSubject(estimator), listed, resume=resume) as run:
        for epoch in run.epochs(EPOCHS):
            for rows in run.batches(np.random.permutation(ROWS).reshape(-1, BATCH)):  # noqa: NPY002
                estimator.partial_fit(x[rows], y[rows], classes=[0, 1])
                run.log(accuracy=estimator.score(x, y))
            with run.validation():
                run.log(score=SCORES[epoch])
    return run


def sgd(listed: list[Any], resume: Any) -> Run:
    """scikit-learn's stochastic gradient descent."""
    from sklearn.linear_model import SGDClassifier

    return _partial_fit(SGDClassifier(learning_rate="constant", eta0=0.1, random_state=3), listed, resume)


def mlp(listed: list[Any], resume: Any) -> Run:
    """scikit-learn's multi-layer perceptron with Adam."""
    from sklearn.neural_network import MLPClassifier

    return _partial_fit(MLPClassifier((8,), learning_rate_init=0.02, random_state=3), listed, resume)


TRAININGS: dict[str, Callable[[list[Any], Any], Run]] = {"torch": torch, "keras": keras, "sgd": sgd, "mlp": mlp}


def trained(
    name: str, folder: Path, events: Path, *, batches: bool, moment: Moment | None = None, resume: Any = None
) -> int:
    """Train in a forked process, which writes its events to a file; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        with events.open("w") as file:
            run = TRAININGS[name]([*callbacks(folder, batches=batches), Witness(file, moment)], resume)
            end = {"reason": run.result.reason, "best": run.result.best, "files": [str(p) for p in run.state.files]}
            file.write(json.dumps({"event": "end", **end, "weights": digest(run.subject), "history": run.history}))
        code = 0
    except KeyboardInterrupt:  # as Python does it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException as error:  # noqa: BLE001 - the parent sees the exit code
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(code)


@functools.cache
def warm_up(name: str) -> None:
    """Train once in this process, so that what a training imports is there in every process forked from it."""
    if name in ("torch", "keras"):
        import torch

        torch.set_num_threads(1)  # forked processes have no pool of threads
    with tempfile.TemporaryDirectory() as folder:
        TRAININGS[name](callbacks(Path(folder), batches=False), None)


def lines(events: Path) -> list[dict[str, Any]]:
    """Return the recorded events of a training."""
    return [json.loads(line) for line in events.read_text().splitlines()]


def suffix(events: list[dict[str, Any]], uninterrupted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of the uninterrupted run, from where the other one resumed."""
    return uninterrupted[len(uninterrupted) - len(events) :]


def files_in(folder: Path) -> list[str]:
    """Return the files that a run leaves, without its lock and journal."""
    return sorted(name for name in without_history(os.listdir(folder)) if not name.startswith(".trainbus"))


def killed_and_resumed(
    name: str, folder: Path, *moments: Moment, batches: bool
) -> tuple[list[dict[str, Any]], list[str]] | None:
    """Return the events of the last of several processes, each but the last killed; None if one was not reached."""
    warm_up(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    events = folder.with_suffix(".events")
    for number, moment in enumerate([*moments, None]):
        code = trained(name, folder, events, batches=batches, moment=moment, resume="auto" if number else None)
        if moment is not None and code == 0:
            return None
        assert code == (0 if moment is None else -moment.signal)
    return lines(events), files_in(folder)


KINDS_OF_EVENTS = {"stop": "stopped", "rates": "epoch", "best": "saved", "weights": "end"}


def verdicts(events: list[dict[str, Any]], uninterrupted: list[dict[str, Any]]) -> dict[str, bool]:
    """Whether the stop, the learning rates, the checkpoints and the weights are those of the uninterrupted run."""
    same: dict[str, bool] = {}
    for what, event in KINDS_OF_EVENTS.items():
        keys = {
            "stop": ("epoch", "reasons"),
            "rates": ("epoch", "rates"),
            "best": ("epoch", "paths"),
            "weights": ("weights",),
        }
        here, there = (
            [tuple(map(str, (line[key] for key in keys[what]))) for line in lines if line["event"] == event]
            for lines in (events, uninterrupted)
        )
        same[what] = here == suffix(here, there) and bool(there)
    return same


def main() -> None:
    """Kill after each of epochs 0 to 10, in the middle of the next one; print how often all was the same."""
    print("| training | checkpoints | same stop | same learning rates | same checkpoints | weights bit-identical |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    root = Path(tempfile.mkdtemp())
    for name in TRAININGS:
        for batches in (False, True):
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.reliability.resuming",
                    name,
                    str(int(batches)),
                    str(root / f"{name}-{batches}"),
                ],
                cwd=Path(__file__).parents[2],
                env={"KERAS_BACKEND": "torch", **os.environ},
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            print(done.stdout, end="", flush=True)


def table_row(name: str, batches: bool, root: Path) -> str:
    """Return one line of the table, computed in a child process."""
    root.mkdir()
    folder = root / "run"
    uninterrupted = killed_and_resumed(name, folder, batches=batches)
    assert uninterrupted is not None
    counted, points = Counter[str](), 0
    for epoch in range(11):
        found = killed_and_resumed(name, folder, Moment("batch", 5 * (epoch + 1) + 3), batches=batches)
        if found is None:  # the uninterrupted run has stopped: killed at its last event
            found = killed_and_resumed(name, folder, Moment("epoch", epoch + 1), batches=batches)
        if found is None:
            continue
        points += 1
        counted.update(what for what, same in verdicts(found[0], uninterrupted[0]).items() if same)
    cells = " | ".join(f"{counted[what]}/{points}" for what in KINDS_OF_EVENTS)
    return f"| {name} | {'and every 3 steps' if batches else 'at epochs'} | {cells} |"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(table_row(sys.argv[1], bool(int(sys.argv[2])), Path(sys.argv[3])))
    else:
        main()
