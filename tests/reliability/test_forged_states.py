"""A forged value in the state of a run is found before a resume changes anything, whatever the value is."""

import copy
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import CheckpointError, Decision, Run, TrainbusError, hookimpl
from trainbus.checkpoints import entries_of
from trainbus.checkpoints.manifest import write_manifest
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import LineSubject

SAVER, STEPS, STOPPER, REDUCER = range(4)
"""The places of the plugins in a manifest."""
NEWEST, OLDER = Path("run/s-9.npz"), "m-4.npz"
"""A checkpoint inside of epoch 5, and the one before it."""

State = dict[str, Any]


def callbacks() -> list[Any]:
    return [
        ModelCheckpoint("run/m-{epoch}", monitor="val_loss", save_best_only=True, keep_last=2),
        ModelCheckpoint("run/s-{step}", save_freq="9 steps", keep_last=2),
        EarlyStopping(patience=9, smoothing="median 3"),
        ReduceLROnPlateau(patience=1),
    ]


def train(
    epochs: int,
    resume: str | None = None,
    stop: tuple[int, int] | None = None,
    plugins: Callable[[], list[Any]] = callbacks,
) -> Run:
    subject = LineSubject()
    with Run(subject, plugins(), verbose=0, resume=resume) as run:
        for epoch in run.epochs(epochs):
            for index, x in enumerate(run.batches([0.0, 1.0])):
                if stop == (epoch, index):
                    raise SystemExit
                run.log(loss=subject.train(np.array([x + random.random()]), np.array([1.0])))
            run.log(val_loss=1.0 / (epoch + 1))
    return run


def interrupted(directory: Path, plugins: Callable[[], list[Any]] = callbacks) -> None:
    with pytest.raises(SystemExit):
        train(6, stop=(4, 1), plugins=plugins)
    shutil.copytree("run", directory)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was interrupted in epoch 5."""
    home = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        interrupted(home / "saved")
    return home / "saved"


@pytest.fixture
def run_directory(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, "run")
    return tmp_path / "run"


def forge(change: Callable[[State], object], path: Path = NEWEST) -> None:
    """Change the state in a manifest, whose digest then fits again."""
    entry = entries_of(path)[0]
    state = entry.model_dump(mode="json")["run_state"]
    change(state)
    write_manifest(path, [entry.model_copy(update={"run_state": state})])


def put(*place: Any, value: Any) -> Callable[[State], object]:
    """Return the change that sets a value at a place in the state."""

    def change(state: Any) -> None:
        for key in place[:-1]:
            state = state[key]
        state[place[-1]] = value

    return change


def of_plugin(number: int, *place: Any, value: Any) -> Callable[[State], object]:
    return put("plugins", number, "state_dict", *place, value=value)


NAN, ARRAY = {"$": "float", "value": "nan"}, {"$": "array", "type": "<f8", "shape": [1], "value": "AAAAAAAA8D8="}
RNG = ("rank_state", "rng")
CHANGE = {"by": "x", "epoch": 1, "begin": 2, "before": {}, "after": {}, "unchanged": {}, "noted": {}}

FORGED = {
    "a change of rates": put("rate_changes", value=[{**CHANGE, "after": {"x": 1.0}}]),
    "the product of cuts": put("uncut_rates", value={"learning_rate": {"product": -1.0}}),
    "a rate without cuts": put("uncut_rates", value={"learning_rate": {"uncut": "much"}}),
    "how often an event was emitted": put("event_counts", value={"drawn": -1}),
    "the epoch of a change": put("rate_changes", value=[{**CHANGE, "epoch": 10**30}]),
    "the run": put("run", value="x" * 100_000),
    "epochs recorded": put("epochs_recorded", value=10**30),
    "epochs": put("position", "epochs", value=10**30),
    "negative epochs": put("position", "epochs", value=-1),
    "batches": put("position", "batches", value=-(10**30)),
    "ranks": put("world_size", value=10**30),
    "no ranks": put("world_size", value=0),
    "planned batches": put("planned_batches", value=-1),
    "known epoch": put("known_epochs", 0, 0, value=10**30),
    "Python's version": put(*RNG, "python", 0, value=None),
    "Python's words": put(*RNG, "python", 1, value=1.5),
    "few words": put(*RNG, "python", 1, value={"$": "bytes", "value": "AAAA"}),
    "Python's second number": put(*RNG, "python", 2, value="x"),
    "Python's generator": put(*RNG, "python", value=[{"a": 1}]),
    "a list of generators": put(*RNG, value=[1]),
    "NumPy's state": put(*RNG, "numpy", "state", value={}),
    "NumPy's key": put(*RNG, "numpy", "state", "key", value=ARRAY),
    "NumPy's position": put(*RNG, "numpy", "state", "pos", value=-(2**31)),
    "NumPy's kind": put(*RNG, "numpy", "bit_generator", value="PCG64"),
    "NumPy's generator": put(*RNG, "numpy", value=[]),
    "generators of the epoch": put("rank_state", "epoch_rng", "numpy", "state", value=[None]),
    "generators of the loop": put("rank_state", "loop_rng", value={"python": [3, 1.5, None]}),
    "a sum": put("rank_state", "means", "loss", value=-(2**63)),
    "a sum as text": put("rank_state", "means", "loss", 0, value="nan"),
    "half a sum": put("rank_state", "means", "loss", value=[1.0]),
    "a count": put("rank_state", "means", "loss", 1, value=NAN),
    "a reduction": put("rank_state", "means", "loss", value=[1.0, 1, "median"]),
    "the name of a metric": put("rank_state", "means", "a\nb", value=[1.0, 1]),
    "a restart": put("rank_state", "means", "\0x\0loss", value=[1.0, 1]),
    "sums": put("rank_state", "means", value=[1]),
    "loaders": put("rank_state", "loaders", value=[1]),
    "the best score": of_plugin(SAVER, "best", value="abc"),
    "the best epoch": of_plugin(SAVER, "best", 1, value=10**30),
    "the best file": of_plugin(SAVER, "best_file", value=["x"]),
    "kept files": of_plugin(SAVER, "kept", value=[[1, 2, 3, 4]]),
    "the score of a kept file": of_plugin(SAVER, "kept", value=[["m-1.npz", 0, 2, ["a"]]]),
    "a kept file more": of_plugin(SAVER, "kept", value=[["m-1.npz", 0, 2, 0.5, 0.5, 1]]),
    "metrics of the name": of_plugin(SAVER, "seen", value=3),
    "nothing": put("plugins", SAVER, "state_dict", value={}),
    "an array": put("plugins", SAVER, "state_dict", value=ARRAY),
    "the schedule": of_plugin(STEPS, "schedule", value=[]),
    "the step of the schedule": of_plugin(STEPS, "schedule", "step", value="9"),
    "minutes": of_plugin(STEPS, "schedule", "passed", value=NAN),
    "whether it waits": of_plugin(STEPS, "waiting", value=2),
    "what was compared": of_plugin(STEPS, "compared", value=[0, 0]),
    "the wait": of_plugin(STOPPER, "metrics", 0, "state", 2, value=[[1, 2]]),
    "no wait": put("plugins", STOPPER, "state_dict", value=[1.0]),
    "the window": of_plugin(STOPPER, "metrics", 0, "smoothing", 0, value="x"),
    "a longer window": put("plugins", STOPPER, "state_dict", value=[1.0, 1, 1, 1.0, 1.0, 1.0, 1.0]),
    "the looks": of_plugin(STOPPER, "looks", value=1.5),
    "cuts": of_plugin(STOPPER, "cuts", value=[1]),
    "a metric more": of_plugin(STOPPER, "stalled", value=[True, True]),
    "a mapping": put("plugins", STOPPER, "state_dict", value={"wait": 1}),
    "the plateau": of_plugin(REDUCER, "state", value={"$": "float", "value": "inf"}),
    "the cooldown": of_plugin(REDUCER, "state", 2, value=[[1, 2], [3, 4]]),
    "a huge cooldown": of_plugin(REDUCER, "state", 2, value=10**30),
    "the best epoch of the plateau": of_plugin(REDUCER, "at", value=[None, 0]),
}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=name, marks=[pytest.mark.exhaustive] if number % 5 > 2 else [])
        for number, (name, change) in enumerate(FORGED.items())
    ],
)
def test_a_forged_state_is_one_clear_error_or_passed_over(
    run_directory: Path, caplog: pytest.LogCaptureFixture, change: Callable[[State], object]
) -> None:
    """A named file is refused in one line before anything changes; "auto" continues from the checkpoint before it."""
    forge(change)
    state = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]  # noqa: NPY002
    with pytest.raises(CheckpointError) as raised:
        train(7, str(NEWEST))
    assert "\n" not in str(raised.value)
    assert str(NEWEST) in str(raised.value)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # type: ignore[index,union-attr]  # noqa: NPY002
    with caplog.at_level(logging.WARNING):
        run = train(7, "auto")
    assert run.resumed is not None
    assert run.resumed.path.name == OLDER
    assert run.result.epochs == 7
    assert [line for line in caplog.messages if line.startswith("skipped") and NEWEST.name in line]


class Deciding:
    """A plugin of a user, whose state the engine does not know."""

    def __init__(self) -> None:
        self.seen = 0

    @hookimpl
    def on_epoch_end(self) -> Decision | None:
        self.seen += 1
        return None

    def state_dict(self) -> Any:
        return {"seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.seen = state["seen"] + 1


@pytest.mark.parametrize("state", [{}, [], 3, {"seen": None}, {"seen": "\n\n"}, {"seen": [1]}])
def test_a_state_that_a_plugin_cannot_load_names_plugin_and_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Any
) -> None:
    """In one line; the error that its method has raised is the cause."""
    monkeypatch.chdir(tmp_path)

    def plugins() -> list[Any]:
        return [ModelCheckpoint("run/m-{epoch}"), Deciding()]

    train(2, plugins=plugins)
    forge(put("plugins", 1, "state_dict", value=state), Path("run/m-2.npz"))
    with pytest.raises(CheckpointError, match=r"^'run/m-2.npz' has a state of Deciding that its load") as raised:
        train(4, "run/m-2.npz", plugins=plugins)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value.__cause__, (TypeError, KeyError))


TABLE = ("decisions", "counts")
CHARTS = {
    "a count": of_plugin(1, *TABLE, "forgotten", value={"x": 0}),
    "an unknown kind": of_plugin(1, *TABLE, "x\ny", value=0),
    "counts": of_plugin(1, *TABLE, value=3),
    "rows": of_plugin(1, "decisions", "rows", value=[["x"]]),
    "earlier rows": of_plugin(1, "decisions", "earlier", value=NAN),
    "the step": of_plugin(1, "step", value="9"),
    "a size": of_plugin(1, "files", value={"train": "x"}),
    "a final value": of_plugin(1, "final", value={"loss": "x"}),
    "the line": of_plugin(1, "line", value="../../x"),
    "a huge step": of_plugin(1, "counts_step", value=10**30),
}


@pytest.mark.parametrize("change", CHARTS.values(), ids=CHARTS.keys())
def test_a_forged_state_of_charts_never_ends_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[State], object]
) -> None:
    """TensorBoard only observes: the charts begin anew, and a failure says so."""
    monkeypatch.chdir(tmp_path)

    def plugins() -> list[Any]:
        return [ModelCheckpoint("run/m-{epoch}"), TensorBoard("run/logs", write_graph=False)]

    train(2, plugins=plugins)
    forge(change, Path("run/m-2.npz"))
    run = train(4, "run/m-2.npz", plugins=plugins)
    assert run.result.epochs == 4
    assert [(each.plugin, each.hook) for each in run.failures] == [("TensorBoard", "load_state_dict")]


VALUES: list[Any] = [
    *(None, "x", "", -1, 0, 1, 10**30, -(10**30), 1e308, 1.5, True, [], {}, [[]], [None], {"a": 1}, "../../victim"),
    *("a\0b", "x" * 100_000, NAN, {"$": "float", "value": "x"}, {"$": "bytes", "value": "AAAA"}, ARRAY, {"$": "zzz"}),
    *({"$": "mapping", "value": [[1, 2]]}, [1, 2, 3], [[1, 2], [3, 4]], [{"a": 1}], [["x", 0, 1, 0.5]], 2**63, "nan"),
]
"""What takes the place of any value in a state."""


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    inside = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*place, key))


@pytest.mark.parametrize("seed", [0, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in range(1, 40))])
def test_any_forged_value_resumes_or_is_one_clear_error(run_directory: Path, seed: int) -> None:
    """At any place of the state, any value: no raw error."""
    chosen = random.Random(seed)
    known = entries_of(NEWEST)[0].model_dump(mode="json")["run_state"]
    for _ in range(20):
        groups: dict[Any, list[tuple[Any, ...]]] = {}
        for each in places(known):
            groups.setdefault(each[0], []).append(each)
        place = chosen.choice(groups[chosen.choice(sorted(groups))])
        value = copy.deepcopy(chosen.choice(VALUES))
        saved = Path("copy")
        shutil.copytree("run", saved)
        forge(put(*place, value=value))
        message = ""
        try:
            train(7, chosen.choice(["auto", str(NEWEST)]))
        except TrainbusError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"{place} = {str(value)[:50]}") from error
        assert "\n" not in message, (place, value)
        shutil.rmtree("run")
        saved.rename("run")
