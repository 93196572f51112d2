"""Trainings that are killed two or three times in a row, also inside of a resume, and what is then left of them.

``python -m tests.reliability.kill_chains 1000`` makes 1,000 kills and prints a table. A process kills itself by SIGKILL
right before or after one of its calls that change the file system, or right after a checkpoint is committed. What the
last process of a chain leaves is compared with what a training leaves that was not killed: contents and states of all
checkpoints, history, decisions, weights, journal and charts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.core.storage.dying import MEMORY
from tests.plugins.event_readers import everything
from trainbus import Run, journal
from trainbus.capabilities import HasLearningRate, HasWeights
from trainbus.checkpoints import Checkpoint, newest_intact, read
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.resume.locate import state_of as run_state_of
from trainbus.resume.run_history import read_past
from trainbus.storage.paths import StartDirectory

EPOCHS = 6
SCORES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.6]
CALLS = ("replace", "rename", "link", "unlink", "write", "ftruncate", "truncate", "rmdir")
"""The functions of ``os`` that change the file system, around which a process may die."""
ON_END: Any = ("signal", "end")
"""When a run saves at its end."""
WHERE = ("before", "after", "commit")


class Death(NamedTuple):
    """When a process kills itself: before or after its n-th call, or after its n-th checkpoint, counted from 1."""

    where: str
    number: int


Listed = Callable[[str, str, Mapping[str, Any]], list[Any]]
"""Returns callbacks for a directory, a suffix and options of ``ModelCheckpoint``."""


class Material(NamedTuple):
    """What is trained, and how."""

    subject: Any
    step: Callable[[Any, Any], float]
    """Trains on one batch of rows and labels; returns a loss."""


def line() -> Material:
    """The line of ``trainbus.testing``."""
    from trainbus.testing import LineSubject

    subject = LineSubject(0.3)
    return Material(subject, lambda x, y: subject.train(x[:, 0], y.astype(float)))


def torch() -> Material:
    """A PyTorch module with dropout, and an optimizer without a state, which weights alone continue exactly."""
    import torch

    from trainbus.adapters.torch import TorchSubject

    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return Material(TorchSubject(model, optimizer), step)


def keras() -> Material:
    """A Keras model with dropout and Adam."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from trainbus.adapters.keras import KerasSubject

    keras.utils.clear_session()  # layers get the same names again
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.3), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Material(KerasSubject(model), lambda x, y: float(model.train_on_batch(x, y)))


def sklearn() -> Material:
    """A linear classifier of scikit-learn."""
    from sklearn.linear_model import SGDClassifier

    from trainbus.adapters.sklearn import SklearnSubject

    classifier = SGDClassifier(learning_rate="constant", eta0=0.1, random_state=3)

    def step(x: Any, y: Any) -> float:
        classifier.partial_fit(x, y, classes=[0, 1])
        return float(classifier.score(x, y))

    return Material(SklearnSubject(classifier), step)


FORMATS: dict[str, Callable[[], Material]] = {
    ".npz": line,
    ".pt": torch,
    ".safetensors": torch,
    ".dcp": torch,
    ".keras": keras,
    ".skops": sklearn,
}
"""The suffix of each format to the function that makes what is trained."""
CASES = [(".npz", False), *((suffix, each) for suffix in list(FORMATS)[1:] for each in (False, True))]
"""Each format, and whether it is written while the training continues, which the line cannot."""


def everything_listed(folder: str, suffix: str, options: Mapping[str, Any]) -> list[Any]:
    """Charts, a stop that restores, a cut of the learning rate, and checkpoints of epochs and of steps."""
    return [
        TensorBoard(f"{folder}/logs", write_graph=False),
        EarlyStopping(patience=2, restore_best_weights=True),
        ReduceLROnPlateau(patience=1, factor=0.5),
        ModelCheckpoint(f"{folder}/m-{{epoch}}{suffix}", keep_last=2, save_last=True, save_on=ON_END, **options),
        ModelCheckpoint(f"{folder}/steps-{{step}}{suffix}", save_freq="3 steps", keep_last=1, **options),
    ]


def train(
    suffix: str,
    folder: Path,
    *,
    background: bool,
    resume: str | None,
    listed: Listed = everything_listed,
    asked_in: int | None = None,
) -> Run:
    """Train, with everything that draws random numbers drawing from the generators that a run restores.

    In the step ``asked_in``, a SIGTERM asks the run to end.
    """
    np.random.seed(1)  # noqa: NPY002 - the one that a run restores
    random.seed(1)
    subject, step = FORMATS[suffix]()
    rows = np.random.RandomState(0).randn(8, 3).astype("float32")
    labels = (rows[:, 0] > 0).astype("int64")
    options: dict[str, Any] = {"save_weights_only": suffix == ".safetensors", "background": background}
    with Run(subject, listed(str(folder), suffix, options), verbose=0, resume=resume) as run:
        for epoch in run.epochs(EPOCHS):
            for some in run.batches(np.random.permutation(8).reshape(2, 4)):  # noqa: NPY002
                if run.step + 1 == asked_in:
                    os.kill(os.getpid(), signal.SIGTERM)
                run.log(loss=step(rows[some] + 0.01 * np.random.rand(4, 3).astype("float32"), labels[some]))  # noqa: NPY002
            with run.validation():
                run.log(loss=SCORES[epoch])
    return run


def lived(suffix: str, folder: Path, death: Death | None, **options: Any) -> bool:
    """Train in a forked process, with the options of ``train``; return whether it has come to its end.

    Otherwise it was killed, or a signal has asked it to end.
    """
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL, -signal.SIGTERM), f"{suffix}, {options}, {death}: exit code {code}"
        return code == 0
    code = 1
    try:
        made = count_calls(death)
        run = train(suffix, folder, **options)
        found = {
            "history": {name: list(map(repr, values)) for name, values in run.history.items()},
            "decisions": [[epoch, *map(repr, decision)] for epoch, decision in run.result.decisions],
            "reason": run.result.reason,
            "files": [path.name for path in run.state.files],
            "weights": digest(run.subject),
            "calls": dict(made),
        }
        folder.with_suffix(".json").write_text(json.dumps(found))
        code = 0
    except BaseException:  # noqa: BLE001 - the parent sees the exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def count_calls(death: Death | None) -> Counter[str]:
    """Count the calls that change the file system, and the commits, and die at one of them."""
    made = Counter[str]()

    def pass_by(where: str) -> None:
        made[where] += 1
        if death == (where, made[where]):
            os.kill(os.getpid(), signal.SIGKILL)

    def around(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            pass_by("before")
            result = real(*args, **options)
            pass_by("after")
            return result

        return counted

    for name in CALLS:
        setattr(os, name, around(getattr(os, name)))

    from trainbus.checkpoints import async_writer

    commit = async_writer.commit

    def committing(*args: Any, **options: Any) -> Checkpoint:
        done = commit(*args, **options)
        pass_by("commit")
        return done

    async_writer.commit = committing
    return made


def digest(subject: Any) -> str:
    """Return a digest of all weights, and the learning rates."""
    assert isinstance(subject, HasWeights)
    weights = hashlib.sha256()
    for name, array in subject.weights():
        weights.update(name.encode() + np.ascontiguousarray(array).tobytes())
    rates = subject.learning_rates() if isinstance(subject, HasLearningRate) else {}
    return f"{weights.hexdigest()[:16]} {rates}"


def left_by(suffix: str, folder: Path) -> dict[str, Any]:
    """Return what a training has left, without what differs between any two runs: times, sizes, random names."""
    found = json.loads(folder.with_suffix(".json").read_text())
    found["calls"] = None
    for path in sorted(folder.glob(f"*{suffix}")):
        if path.name.startswith(".trainbus"):
            continue
        subject, step = FORMATS[suffix]()
        if suffix == ".skops":
            step(np.zeros((2, 3), "float32"), np.array([0, 1]))
        subject.load(path)
        found[f"content of {path.name}"] = digest(subject)
        found[f"state of {path.name}"] = state_of(read(path))
    names = {re.sub(r"history-.*", "history", each.name) for each in folder.iterdir()}
    found["names"] = sorted(each for each in names if not each.startswith(".trainbus"))
    (told,) = journal.read(folder / journal.NAME)
    lines = [
        each.model_dump(exclude={"time", "seconds", "size", "digest"})
        for each in told.events
        if not isinstance(each, (journal.RunStarted, journal.RunResumed))
    ]
    found["checkpoints in the journal"] = sorted(str(each) for each in lines if each["event"] == "checkpoint")
    found["journal"] = [each for each in lines if each["event"] != "checkpoint"]
    found["charts"] = {str(key): values for key, values in everything(folder / "logs").items()}
    return found


def state_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the run state of a checkpoint, without what differs between any two runs."""
    entry = checkpoint.entry
    state = {name: each for name, each in entry.run_state.items() if name not in ("run", "slots", "plugins")}
    past = read_past(checkpoint, run_state_of(checkpoint).history, StartDirectory())
    decisions = [[epoch, *map(repr, decision)] for epoch, decision in past.decisions]
    state["history"] = [str(past.epochs), decisions, list(map(str, past.files))]
    state["slots"] = sorted(entry.run_state.get("slots", {}))
    # what the schedules would have set is computed from the rates of the checkpoint: equal but for the last bits
    changes = json.dumps(state.get("rate_changes", []))
    state["rate_changes"] = json.loads(changes, parse_float=lambda text: float(f"{float(text):.12g}"))
    recorded = [each for each in entry.run_state["plugins"] if each["name"] not in ("Journal", "TensorBoard")]
    state["plugins"] = re.sub(r"'passed': [^}]*", "", str(recorded))
    if state.get("at_end"):  # of the last epoch, which is over
        state.pop("validated", None)
        state["rank_state"] = {name: each for name, each in state["rank_state"].items() if name != "loaders"}
    return {**entry.model_dump(include={"epoch", "step", "reason", "metrics", "weights_only"}), "run": state}


class Chains:
    """The chains of one format, all of them in one directory."""

    def __init__(self, suffix: str, folder: Path, *, background: bool) -> None:
        self.suffix, self.folder, self.background = suffix, folder, background
        if suffix in (".pt", ".safetensors", ".dcp", ".keras"):
            import torch

            torch.set_num_threads(1)  # forked processes have no pool of threads
        for resume in (None, "auto"):  # what is imported is there in every process forked from this one
            train(suffix, folder / "warm", background=background, resume=resume)
        self.unbroken = self.chain([])[0]
        calls = json.loads(folder.joinpath("run.json").read_text())["calls"]
        self.calls: dict[str, int] = {"before": calls["before"], "after": calls["after"], "commit": calls["commit"]}

    def chain(self, deaths: Iterable[Death]) -> tuple[dict[str, Any], int]:
        """Let one process after the other die; return what the last one leaves, and how many have died.

        Those that have died before their first checkpoint do not count.
        """
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        kills = 0
        for number, death in enumerate([*deaths, None]):
            over = lived(self.suffix, run, death, background=self.background, resume="auto" if number else None)
            kills += not over
            if not over and newest_intact(run)[0] is None:  # there is nothing to resume: the next one is a new run
                shutil.rmtree(run)
                run.mkdir()
                kills -= 1
        return left_by(self.suffix, run), kills

    def differences(self, deaths: Iterable[Death]) -> tuple[list[str], int]:
        """Return in what the result of a chain differs from that of the unbroken run, and the number of kills."""
        found, kills = self.chain(deaths)
        names = dict.fromkeys([*self.unbroken, *found])
        return [name for name in names if found.get(name) != self.unbroken.get(name)], kills

    def random_deaths(self, chosen: random.Random) -> list[Death]:
        """Draw two or three deaths: the first at any time, the others often inside of the resume."""
        deaths = list[Death]()
        for _ in range(chosen.choice([2, 3])):
            where = chosen.choice(WHERE)
            most = self.calls[where]
            if deaths and chosen.random() < 0.6:
                most = 2 if where == "commit" else 25
            deaths.append(Death(where, chosen.randint(1, most)))
        return deaths


def trials(suffix: str, kills: int, seed: int, *, background: bool) -> dict[str, Any]:
    """Make so many kills with one format; return how many chains differed, and in what."""
    chosen, counted, wrong = random.Random(f"{seed} {suffix} {background}"), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        chains = Chains(suffix, Path(folder), background=background)
        while counted["kills"] < kills:
            deaths = chains.random_deaths(chosen)
            differs, made = chains.differences(deaths)
            counted["kills"] += made
            counted["chains"] += 1
            counted["differ"] += bool(differs)
            if differs:
                wrong.append(f"{[tuple(each) for each in deaths]}: {', '.join(differs)}")
    return {**counted, "wrong": wrong}


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or the result of one format."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--format", choices=FORMATS)
    parser.add_argument("--background", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.format:
        print(json.dumps(trials(options.format, options.kills, options.seed, background=options.background)))
        return
    print("| format | writer | kills | chains | chains that differ |")
    print("| --- | --- | ---: | ---: | ---: |")
    each = -(-options.kills // len(CASES))
    for suffix, background in CASES:
        found = in_process(suffix, each, options.seed, background=background)
        writer = "background" if background else "waiting"
        print(f"| {suffix} | {writer} | {found['kills']} | {found['chains']} | {found.get('differ', 0)} |", flush=True)
        for chain in found["wrong"]:
            print(f"{suffix} {writer} {chain}", file=sys.stderr)


def in_process(suffix: str, kills: int, seed: int = 0, *, background: bool) -> dict[str, Any]:
    """Do the same in a child process, which imports the one framework and forks the trainings."""
    command = [sys.executable, "-m", "tests.reliability.kill_chains", str(kills), "--format", suffix]
    command += ["--seed", str(seed), *(["--background"] if background else [])]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
