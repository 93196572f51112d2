"""Tests of files in the user's own layout."""

import copy
import os
import pickle
import re
import signal
import threading
from contextlib import nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import skops.io as skops
import torch
from sklearn.linear_model import SGDRegressor

from tests.core.storage.dying import dying_at
from trainbus import CheckpointError, MissingCapability, Run, SettingsError
from trainbus.adapters.keras import KerasSubject
from trainbus.adapters.sklearn import SklearnSubject
from trainbus.adapters.torch import TorchSubject
from trainbus.checkpoints import read
from trainbus.checkpoints.discovery import payloads_in, remove_debris
from trainbus.checkpoints.manifest import BESIDE
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.settings.settings_file import dumps
from trainbus.testing import LineSubject

X, Y = np.array([0.0, 1.0]), np.array([1.0, 3.0])


def trained(epochs: int, *callbacks: Any, resume: Any = None, line: LineSubject | None = None, **options: Any) -> Run:
    """Train a line, whose content is its slope and the loss."""
    line = LineSubject() if line is None else line
    options = {"content": lambda run: {"net": line.slope, "loss": run.metrics["loss"]}, **options}
    saver = ModelCheckpoint(options.pop("filepath", "run/m-{epoch}.ckpt"), **options)
    with Run(line, [saver, *callbacks], resume=resume) as run:
        for _ in run.epochs(epochs):
            run.log(loss=line.train(X, Y))
    return run


def states() -> list[str]:
    return sorted(name for name in os.listdir("run") if name.startswith(BESIDE))


@pytest.mark.parametrize("source", ["auto", "run/m-3.ckpt"])
@pytest.mark.parametrize(
    "options", [{}, {"background": False}, {"keep_last": 2}, {"save_last": True, "save_on": "end"}]
)
def test_a_run_resumes_from_content_as_from_any_file(source: str, options: dict[str, Any]) -> None:
    """Weights, learning rate, files and history are those of a run that was never interrupted."""
    whole = trained(5, **options)
    expected = {path.name: dict(np.load(path)) for path in payloads_in(Path("run"))}
    for path in Path("run").iterdir():
        path.unlink()
    trained(3, **options)
    run = trained(5, resume=source, line=LineSubject(0.1), **options)

    assert run.history == whole.history
    assert run.subject.learning_rate == 0.5
    assert run.subject.slope == whole.subject.slope
    assert {path.name: dict(np.load(path)) for path in payloads_in(Path("run"))} == expected
    assert len(states()) == len(expected)


def test_the_content_is_that_of_the_decision() -> None:
    """What the function returns is copied at once: training that goes on during the write does not change it."""
    torch.manual_seed(0)
    net = torch.nn.Linear(40, 40)
    found = []

    def content(run: Run) -> dict[str, Any]:
        found.append(net.weight.detach().clone())
        return {"net": net, "live": net.weight, "array": net.weight.detach().numpy()}

    saver = ModelCheckpoint("run/m-{epoch}.bin", content=content, background=True, save_last=True)
    with Run(TorchSubject(net), saver) as run:
        for _ in run.epochs(4):
            with torch.no_grad():
                net.weight.add_(1)
            run.log(loss=1.0)

    assert len(found) == 4  # once for each decision, also for "last"
    for number, weight in enumerate(found, 1):
        read = torch.load(f"run/m-{number}.bin", weights_only=False)
        assert torch.equal(read["live"], weight)
        assert torch.equal(read["net"].weight, weight)
        assert np.array_equal(read["array"], weight.numpy())


def test_the_best_weights_are_restored_from_the_training_state() -> None:
    """A snapshot of the best weights shares the training state, not the content."""
    line = LineSubject(2.2)  # it diverges, so that the first epoch is the best
    trained(3, EarlyStopping(monitor="loss", patience=9, restore_best_weights=True), line=line)
    assert line.slope == trained(1, line=LineSubject(2.2)).subject.slope


def failing(run: Run) -> Any:
    if run.epoch == 1:
        raise KeyError("val_acc")
    return {"epoch": run.epoch}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (failing, "content= of ModelCheckpoint: KeyError: 'val_acc'"),
        (lambda run: None if run.epoch == 1 else {"a": 1}, "content= of ModelCheckpoint returned None"),
        (lambda run: 3 if run.epoch == 1 else {"a": 1}, "content= of ModelCheckpoint: AttributeError"),
        (lambda run: {"a": run.metrics["acc"]} if run.epoch == 1 else {"a": 1}, "content= of ModelCheckpoint: .*acc"),
        (lambda run: {"a": [1, [2]]} if run.epoch == 1 else {"a": 1}, "content= of ModelCheckpoint: ValueError"),
    ],
)
def test_content_that_fails_is_a_file_that_was_not_written(content: Any, why: str) -> None:
    """The run ends with a line that names the option, or goes on and saves the next model."""
    with pytest.raises(CheckpointError, match=why):
        trained(3, content=content)
    assert [path.name for path in payloads_in(Path("run"))] == ["m-1.ckpt"]
    assert len(states()) == 1
    run = trained(3, content=content, on_error="warn")
    assert sorted(path.name for path in payloads_in(Path("run"))) == ["m-1.ckpt", "m-3.ckpt"]
    assert "content=" in str(run.failures[0].error)


def once_failing() -> Any:
    """Return a function that fails when it is called for the second epoch for the first time."""
    calls = list[int]()

    def content(run: Run) -> Any:
        calls.append(run.epoch)
        if calls.count(1) == 1 and run.epoch == 1:
            raise RuntimeError("try again")
        return {"epoch": run.epoch}

    return content


OTHERS: list[tuple[list[Any], set[str]]] = [
    ([ModelCheckpoint("run/z-{epoch}")], {"z-2.npz"}),
    ([ModelCheckpoint("run/a-{epoch}", save_last="a-last")], {"a-2.npz", "a-last.npz"}),
    ([ModelCheckpoint("run/w.ckpt", save_weights_only=True, background=False)], {"w.ckpt"}),
    ([ModelCheckpoint("run/b", monitor="loss", save_best_only=True)], {"b.npz"}),
    ([ModelCheckpoint("run/c.bin", content=lambda run: {"a": 1}, save_on=())], {"c.bin"}),
    ([ModelCheckpoint("run/l-{epoch}", save_last="link"), EarlyStopping(monitor="loss", patience=9)], {"l-2.npz"}),
]
"""Callbacks beside one whose content fails in the second epoch, and the files that they write then."""


@pytest.mark.parametrize(("others", "names"), OTHERS)
@pytest.mark.parametrize("first", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_content_that_fails_keeps_no_other_file_from_being_written(
    others: list[Any], names: set[str], first: bool, on_error: Any
) -> None:
    """The files of other callbacks are written; the one that failed is reported, and none of its files is deleted."""
    line = LineSubject()
    saver = ModelCheckpoint("run/m-{epoch}.ckpt", content=failing, on_error=on_error, keep_last=1, save_on=())
    steps = list[dict[str, int]]()
    with (
        pytest.raises(CheckpointError, match="val_acc") if on_error == "raise" else nullcontext(),
        Run(line, [*others, saver] if first else [saver, *others]) as run,
    ):
        for epoch in run.epochs(3):
            if epoch == 2:
                steps.append({path.name: read(path).step for path in payloads_in(Path("run"))})
            for _ in run.batches(range(2)):
                run.log(loss=line.train(X, Y))
    found = steps[0] if steps else {path.name: read(path).step for path in payloads_in(Path("run"))}
    assert {name for name, step in found.items() if step == 4} == names
    assert found["m-1.ckpt"] == 2
    assert "m-2.ckpt" not in found


@pytest.mark.parametrize("save_last", [True, "newest-{epoch}"])
@pytest.mark.parametrize("background", [None, False])
def test_content_that_fails_once_is_made_for_the_next_file_of_the_decision(
    save_last: bool | str, background: bool | None
) -> None:
    """The run is resumed from that file, and saves the one that failed."""
    options: dict[str, Any] = {"save_last": save_last, "background": background, "save_on": ()}
    options["content"] = once_failing()
    with pytest.raises(CheckpointError, match="RuntimeError: try again"):
        trained(3, **options)
    (saved,) = (path for path in payloads_in(Path("run")) if read(path).epoch == 1)
    again = trained(3, resume="auto", **options)
    assert again.resumed is not None
    assert again.resumed.path == saved
    assert {path.name for path in payloads_in(Path("run"))} > {"m-1.ckpt", "m-2.ckpt", "m-3.ckpt"}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"content": print, "save_weights_only": True}, "content= and save_weights_only=True contradict each other"),
        ({"content": "net"}, "content='net': give a function of the run"),
        ({"content": lambda run, more: {}}, "give a function of the run"),
        ({"content": {"net": 1}}, "give a function of the run"),
    ],
)
def test_wrong_content_is_refused_when_the_callback_is_made(options: dict[str, Any], why: str) -> None:
    """The message names the options, or how to write the function."""
    with pytest.raises(SettingsError, match=why):
        ModelCheckpoint("m", **options)


async def later(run: Run) -> dict[str, Any]:
    return {}


def test_a_coroutine_is_refused() -> None:
    """Its result would be no content."""
    with pytest.raises(SettingsError, match="give a function of the run"):
        ModelCheckpoint("m", content=later)


def test_a_subject_that_cannot_write_content_is_refused_before_training() -> None:
    """The message says what it lacks, or why."""

    class Plain(LineSubject):
        content_writer = None  # type: ignore[assignment]

    with pytest.raises(MissingCapability, match=r"needs a subject that can write content .* has no content_writer\(\)"):
        Run(Plain(), ModelCheckpoint("m", content=failing))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(MissingCapability, match="the files of Keras hold a model, and nothing else"):
        Run(KerasSubject(model), ModelCheckpoint("m", content=failing))


def test_two_callbacks_do_not_write_their_own_content_to_one_file() -> None:
    """The file "signal", which callbacks share otherwise, belongs to one content."""
    with pytest.raises(SettingsError, match=r"two callbacks would write '.*signal\.npz'"):
        Run(LineSubject(), [ModelCheckpoint(f"{name}.npz", content=failing) for name in "ab"])


def test_a_callback_with_content_is_a_value() -> None:
    """It is compared, copied and pickled; a settings file refuses the function by name."""
    one = ModelCheckpoint("m", content=failing)
    assert one == ModelCheckpoint("m", content=failing)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert hash(one) == hash(copy.copy(one))
    assert one.settings()["content"].endswith("test_content.failing")
    with pytest.raises(SettingsError, match="content= is a function, which TOML cannot hold"):
        dumps([one])
    local = pickle.loads(pickle.dumps(trained(1))).callbacks["ModelCheckpoint"]
    with pytest.raises(SettingsError, match="was not pickled with its callback"):
        local.content(None)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_training_that_is_killed_at_any_call_resumes_exactly() -> None:
    """After a death at each of its calls to the file system, the resumed run ends as one that was never killed."""
    options = {"filepath": "run/m.ckpt", "background": False, "save_last": True}
    whole = trained(3, **options)
    expected = dict(np.load("run/m.ckpt"))
    for step in count(step=19):
        for path in Path("run").iterdir():
            path.unlink()
        died = dying_at(step, partial(trained, 3, **options))
        run = trained(3, resume="auto", **options)
        remove_debris(Path("run"))
        assert run.history == whole.history
        assert run.subject.slope == whole.subject.slope
        assert dict(np.load("run/m.ckpt")) == dict(np.load("run/last.ckpt")) == expected
        assert len(states()) == 2
        if not died:
            break
    assert step > 100


def test_content_of_torch_and_sklearn(tmp_path: Path) -> None:
    """``torch.load`` and skops read what the function returned, also nested and with values of many types."""
    net = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    value = {"acc": np.float64(0.5), "sizes": [1, 2], "names": ("a",)}

    def content(run: Run) -> dict[str, Any]:
        return {"net": net.state_dict(), "live": list(net.parameters()), "opt": optimizer.state_dict(), **value}

    saver = ModelCheckpoint(str(tmp_path / "t.pth.tar"), content=content)
    with Run(TorchSubject(net, optimizer), saver) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
            saved = net.weight.detach().clone()
    with torch.no_grad():
        net.weight += 1
    found = torch.load(tmp_path / "t.pth.tar")
    assert torch.equal(found["net"]["weight"], saved)
    assert torch.equal(found["live"][0], saved)
    assert {name: found[name] for name in value} == value
    assert found["opt"]["param_groups"][0]["lr"] == 0.1

    model = SGDRegressor(random_state=0).partial_fit(X[:, None], Y)
    with Run(
        SklearnSubject(model), ModelCheckpoint(str(tmp_path / "s"), content=lambda run: {"clf": model, "n": 3})
    ) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    loaded = skops.load(tmp_path / "s.skops", trusted=skops.get_untrusted_types(file=tmp_path / "s.skops"))
    assert loaded["n"] == 3
    assert np.array_equal(loaded["clf"].coef_, model.coef_)


@pytest.mark.parametrize("content", [lambda run: {"f": lambda: 0}, lambda run: {"lock": threading.Lock()}])
def test_content_that_pickle_cannot_write_is_refused(content: Any) -> None:
    """The old file stays, and the message says what could not be written."""
    saver = ModelCheckpoint("run/t.ckpt", content=content, save_on=())
    with (
        pytest.raises(CheckpointError, match=r"content= of ModelCheckpoint|was not written"),
        Run(TorchSubject(torch.nn.Linear(1, 1)), saver) as run,
    ):
        for _ in run.epochs(2):
            run.log(loss=1.0)
    assert payloads_in(Path("run")) == []
    assert states() == []


def _raises(error: Exception) -> Any:
    def content(run: Run) -> Any:
        raise error

    return content


BEFORE_METRICS: list[tuple[Any, str]] = [
    (lambda run: {"acc": run.metrics["val_acc"]}, r"KeyError: 'val_acc'; .*write run.metrics.get\('val_acc'\)"),
    (lambda run: {"acc": run.history["loss"][-1]}, "KeyError: 'loss'|IndexError"),
    (lambda run: {"acc": float(run.metrics.get("val_acc"))}, "TypeError"),
]
"""Functions that fail before an epoch has ended, and what the line says."""
ALWAYS: list[tuple[Any, str]] = [
    (lambda run: None, "returned None; return what the file should hold"),
    (_raises(RuntimeError("broken")), "RuntimeError: broken"),
    (_raises(OSError("no such host")), "no such host"),
    (_raises(SystemError("x")), "SystemError: x"),
    (lambda run: {"a": lambda: 1}, "content= of ModelCheckpoint: "),
]
"""Functions that always fail."""
CASES = [
    *((*each, how) for each in BEFORE_METRICS for how in ("interrupt", "signal", "error")),
    *((*each, how) for each, how in zip(ALWAYS, ("end", "interrupt", "error", "signal", "end"), strict=True)),
]


def _interrupted(how: str, saver: ModelCheckpoint, net: torch.nn.Linear) -> Run:
    """Train two epochs of 6 batches; the third batch ends the run, unless it goes to its end."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    run = Run(TorchSubject(net, optimizer), saver)
    with run:
        for _ in run.epochs(2):
            for batch in run.batches(range(6)):
                net(torch.ones(1, 1)).sum().backward()
                optimizer.step()
                if batch == 2 and how == "interrupt":
                    run.interrupt("TimeLimit")
                if batch == 2 and how == "error":
                    raise RuntimeError("user")
                if batch == 2 and how == "signal":
                    os.kill(os.getpid(), signal.SIGINT)
            run.log(loss=1.0, val_acc=1.0)
    return run


@pytest.mark.parametrize(("content", "why", "how"), CASES)
@pytest.mark.parametrize("background", [None, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_the_training_state_is_saved_when_a_run_ends_without_its_content(
    content: Any, why: str, how: str, background: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says what the file lacks, no error is raised for it, and a resume continues from it."""
    net, on = torch.nn.Linear(1, 1), ("signal", "exception", "end")
    saver = ModelCheckpoint(
        "run/m-{epoch}.ckpt", content=content, save_freq="1000 steps", save_on=on, background=background
    )
    expected = {"signal": KeyboardInterrupt, "error": RuntimeError}.get(how)
    with pytest.raises(expected) if expected else nullcontext():
        _interrupted(how, saver, net)
    path = f"run/{({'interrupt': 'signal', 'error': 'exception'}).get(how, how)}.ckpt"
    (line,) = (each.getMessage() for each in caplog.records if "no content" in each.getMessage())
    assert line.startswith(f"{path!r} has the training state, from which a resume continues, but no content: ")
    assert re.search(why, line)
    again = torch.nn.Linear(1, 1)
    run = Run(TorchSubject(again, torch.optim.Adam(again.parameters(), 0.1)), saver, resume=path)
    run.begin()
    assert torch.equal(again.weight, net.weight)
    assert run.step == {"end": 12, "error": 2}.get(how, 3)
    run.end()


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_file_of_the_template_needs_its_content(on_error: Any) -> None:
    """Also where the training ends; the message names the fix, and ``on_error`` decides."""
    fix = r"KeyError: 'val_acc'; for a metric that is not logged yet, write run.metrics.get\('val_acc'\)"
    options: dict[str, Any] = {"content": lambda run: {"a": run.metrics["val_acc"]}, "save_on": ("end", "signal")}
    if on_error == "raise":
        with pytest.raises(CheckpointError, match=fix):
            trained(2, **options)
    else:
        run = trained(2, on_error=on_error, **options)
        assert [path.name for path in payloads_in(Path("run"))] == ["end.ckpt"]
        assert all(re.search(fix, str(each)) for each in run.failures)
