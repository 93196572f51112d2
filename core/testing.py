"""A kit for authors of callbacks, plugins and adapters: a small subject, scripted runs, and the contracts to keep."""

from __future__ import annotations

import inspect
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from operator import itemgetter
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

from .callback import Callback
from .capabilities import (
    BackgroundSaveable,
    HasActivations,
    HasGraph,
    HasLearningRate,
    HasStateDict,
    HasWeights,
    Node,
    Restorable,
    Saveable,
    Snapshotable,
    missing,
)
from .decision import Decision
from .errors import SettingsError
from .hooks import HOOKS, Hooks, check_plugin, hookimpl
from .metrics.names import hint
from .resume.serialization import from_json_data, to_json_data
from .run import Run
from .settings.plugin_list import CallbackLike, as_list
from .storage.atomic_file import HashedFile, digest_of, reading, told_digest

__all__ = ["EventRecorder", "LineSubject", "RecordedEvent", "check_callback", "check_subject", "scripted"]


class LineSubject:
    """A straight line fitted by gradient descent: the smallest subject that can be saved, changed and looked at.

    >>> subject = LineSubject()
    >>> float(subject.slope)
    0.0
    >>> for _ in range(100):
    ...     loss = subject.train(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    >>> loss < 1e-3
    True
    """

    def __init__(self, learning_rate: float = 0.5) -> None:
        self.slope = np.zeros(())
        self.offset = np.zeros(())
        self.learning_rate = learning_rate

    def train(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
        """One step down the gradient; returns the loss before it."""
        error = self.slope * x + self.offset - y
        self.slope -= self.learning_rate * (error * x).mean()
        self.offset -= self.learning_rate * error.mean()
        return float((error**2).mean())

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """It writes NumPy archives."""
        return (".npz",)

    def save(self, path: Path, *, weights_only: bool) -> str:
        """Write slope, offset and, unless only the weights are wanted, the learning rate; the digest of it."""
        more = {} if weights_only else {"learning_rate": np.array(self.learning_rate)}
        with HashedFile(path) as file:
            np.savez(file, slope=self.slope, offset=self.offset, **more)  # type: ignore[arg-type]
        return file.digest

    def load(self, path: Path) -> None:
        """Take over what `save` wrote."""
        with reading(path), path.open("rb") as file, np.load(file) as arrays:
            line = arrays["slope"], arrays["offset"]
            learning_rate = float(arrays.get("learning_rate", self.learning_rate))
        self.restore(line)
        self.learning_rate = learning_rate

    def snapshot(self) -> object:
        """Slope and offset, copied."""
        return self.slope.copy(), self.offset.copy()

    def restore(self, snapshot: Any) -> None:
        """Take over slope and offset."""
        self.slope, self.offset = (np.array(value) for value in snapshot)

    def learning_rates(self) -> Mapping[str, float]:
        """The one rate."""
        return {"learning_rate": self.learning_rate}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change the one rate."""
        self.learning_rate = rates.get("learning_rate", self.learning_rate)

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Slope and offset."""
        return [("line/slope", self.slope), ("line/offset", self.offset)]

    def graph(self) -> Sequence[Node]:
        """Input and line."""
        return [Node("input", "Input"), Node("line", "Line", ("input",), (("parameters", "2"),))]


class RecordedEvent(NamedTuple):
    """One call of a hook: its name, and what was known at that time."""

    hook: str
    """The hook's name, as in ``trainbus.hooks.HOOKS``."""
    values: dict[str, Any]
    """The run's ``epoch``, ``batch`` and ``step``, and the hook's own arguments except ``run``, all by name."""


class EventRecorder:
    """A plugin that records which hooks are called, in order, with their arguments.

    It listens only to the hooks that it is given, because listening to batches makes each batch slower. Metrics are
    copied when the hook is called, which may wait for the device.

    Args:
        hooks: Names of the hooks to listen to; every hook if none is given.
        answer: Called with each event after it is recorded; its return value answers the hook. It may also raise,
            to test what a run does then. None answers nothing.

    Raises:
        SettingsError: A name is not a hook.

    >>> from trainbus import decision
    >>> recorder = EventRecorder("on_epoch_end", "on_train_end", answer=lambda event: decision.stop("enough"))
    >>> with Run(callbacks=recorder) as run:
    ...     for epoch in run.epochs(3):
    ...         run.log(loss=0.5)
    >>> recorder.names
    ['on_epoch_end', 'on_train_end']
    >>> recorder.of("on_epoch_end", "epoch", "metrics")
    [(0, {'loss': 0.5})]
    >>> recorder.events[-1].values
    {'epoch': 0, 'batch': 0, 'step': 0}
    """

    def __init__(self, *hooks: str, answer: Callable[[RecordedEvent], Decision | None] | None = None) -> None:
        self.events: list[RecordedEvent] = []
        self._answer = answer
        for hook in hooks or HOOKS:
            if hook not in HOOKS:
                known = ", ".join(HOOKS)
                raise SettingsError(f"EventRecorder: unknown hook {hook!r}{hint(hook, HOOKS)} hooks: {known}")
            setattr(self, hook, MethodType(_recording(hook), self))

    @property
    def names(self) -> list[str]:
        """The hook of each event, in order."""
        return [event.hook for event in self.events]

    def of(self, hook: str, *names: str) -> list[Any]:
        """Return what was recorded for one hook.

        Args:
            hook: The hook's name.
            names: Which values of each event to return: the value itself for one name, a tuple for several. Without
                names, the mapping of all values.
        """
        found = [event.values for event in self.events if event.hook == hook]
        return [itemgetter(*names)(values) for values in found] if names else found

    def record(self, event: RecordedEvent) -> Decision | None:
        """Append an event and return the answer to it."""
        self.events.append(event)
        return self._answer and self._answer(event)


def _recording(hook: str) -> Callable[..., Decision | None]:
    specified = getattr(Hooks, hook)
    arguments = list(inspect.signature(specified).parameters)[2:]

    # pluggy and check_plugin read the arguments from the function that this one wraps
    @hookimpl
    @wraps(specified)
    def implementation(recorder: EventRecorder, run: Run, *given: Any) -> Decision | None:
        position: dict[str, Any] = {"epoch": run.epoch, "batch": run.batch, "step": run.step}
        values = (dict(each) if name == "metrics" else each for name, each in zip(arguments, given, strict=True))
        return recorder.record(RecordedEvent(hook, position | dict(zip(arguments, values, strict=True))))

    return implementation


def scripted(
    history: Sequence[Mapping[str, Any]], callbacks: CallbackLike | Sequence[CallbackLike], subject: object = None
) -> tuple[Run, list[tuple[int, Decision]]]:
    """A run over a written history: a mapping of metrics for each epoch.

    An epoch without any `val_` metric counts as one without validation, unless no epoch has one.

    Returns:
        The run, and everything that was decided, each with its epoch.

    >>> from trainbus.plugins import EarlyStopping
    >>> run, decided = scripted([{"loss": 2.0}, {"loss": 1.0}, {"loss": 1.0}], EarlyStopping(monitor="loss"))
    >>> run.result.epochs, [epoch for epoch, _ in decided]
    (3, [2])
    """
    recorder = EventRecorder("on_decision")
    listed = as_list(callbacks)
    validated = [epoch for epoch, metrics in enumerate(history, start=1) if any(n.startswith("val_") for n in metrics)]
    with Run(subject, [*listed, recorder], progress=False) as run:
        for epoch in run.epochs(len(history), validation_freq=validated or 1):
            run.log(history[epoch])
    return run, recorder.of("on_decision", "epoch", "decision")


def check_callback(
    callback: Callback, history: Sequence[Mapping[str, Any]], make_subject: Callable[[], object] = LineSubject
) -> None:
    """Assert that a callback keeps the contract: a value without state, which decides the same in every run.

    Args:
        callback: one with any options.
        history: metrics of some epochs, among them those that it monitors.
        make_subject: makes a new subject, able to do what the callback needs.

    Raises:
        AssertionError: saying which part of the contract is broken.
    """
    kind = type(callback)
    options = callback.settings()
    assert options.pop("callback") == kind.__name__, "settings() names the class"
    assert kind(**options) == callback, "settings() make an equal callback"
    assert kind.model_validate_json(callback.model_dump_json()) == callback, "JSON makes an equal callback"
    assert hash(kind(**options)) == hash(callback), "equal callbacks have equal hashes"
    assert set(kind.model_json_schema()["properties"]) == set(kind.model_fields), "the JSON schema has every option"
    assert callback.plugin() is not callback.plugin(), "plugin() makes a new listener each time"
    check_plugin(kind.__name__, callback.plugin())
    assert not list(callback.validate_for(make_subject())), "it works with the subject"
    runs = [scripted(history, callback, make_subject()) for _ in range(2)]
    assert runs[0][1] == runs[1][1], "a second run decides as the first one did"
    for name, plugin in runs[1][0].plugins.items():
        if isinstance(plugin, HasStateDict) and runs[1][0].callbacks.get(name) == callback:
            _check_memory(name, plugin, callback, make_subject())


def _check_memory(name: str, plugin: HasStateDict, callback: Callback, subject: object) -> None:
    kept = json.dumps(to_json_data(plugin.state_dict()))
    with suppress(InterruptedError), Run(subject, callback, progress=False) as run:
        again = run.plugins[name]
        assert isinstance(again, HasStateDict), "each of its plugins remembers"
        again.load_state_dict(from_json_data(json.loads(kept)))
        now = json.dumps(to_json_data(again.state_dict()))
        # fractions may be of a clock that runs on
        same = json.loads(now, parse_float=lambda _: "") == json.loads(kept, parse_float=lambda _: "")
        assert same, "what recalls a memory remembers the same"
        raise InterruptedError("so that nothing comes of what it recalls")


def check_subject(make: Callable[[], object], train: Callable[[Any], object]) -> None:
    """Assert that a subject keeps the contract of every capability that it has.

    Args:
        make: makes a new subject, ready to be trained; two of them need not be equal.
        train: changes the weights of a subject by some steps.

    Raises:
        AssertionError: saying which part of the contract is broken.
    """
    subject = make()
    train(subject)
    if _has(subject, HasWeights) and isinstance(subject, HasWeights):
        names = [name for name, _ in subject.weights()]
        assert len(set(names)) == len(names), "names of weights are unique"
        train(subject)
        assert [name for name, _ in subject.weights()] == names, "names of weights stay the same and in order"
    if _has(subject, Snapshotable) and isinstance(subject, Snapshotable):
        _check_return(subject, train, subject.snapshot(), subject.restore, "a snapshot")
    if _has(subject, HasLearningRate) and isinstance(subject, HasLearningRate):
        halved = {name: rate / 2 for name, rate in subject.learning_rates().items()}
        subject.set_learning_rates(halved)
        _assert_close(subject.learning_rates(), halved, "learning rates are what was written")
        train(subject)
        _assert_close(subject.learning_rates(), halved, "learning rates stay what was written")
    if _has(subject, HasGraph) and isinstance(subject, HasGraph):
        nodes = subject.graph()
        known = {node.name for node in nodes}
        assert len(known) == len(nodes), "names of nodes are unique"
        assert all(set(node.inputs) <= known for node in nodes), "inputs of nodes are nodes"
    if _has(subject, HasActivations) and isinstance(subject, HasActivations):
        before = _weights(subject)
        slices, whole = (_sizes(subject.activations(batch_size)) for batch_size in (2, sys.maxsize))
        assert slices == whole, "layers put out as much in small slices as in one"
        _assert_same(_weights(subject), before, "looking at activations leaves")
    if _has(subject, Saveable) and isinstance(subject, Saveable) and isinstance(subject, Restorable):
        with tempfile.TemporaryDirectory() as folder:
            for weights_only in (False, True):
                suffixes = subject.suffixes(weights_only=weights_only)
                assert suffixes, "there is a suffix to write"
                assert all(suffix.startswith(".") for suffix in suffixes), "suffixes have their dot"
                path = Path(folder) / f"checkpoint{suffixes[0]}"
                _check_digest(path, subject.save(path, weights_only=weights_only))
                _check_return(subject, train, path, subject.load, f"a file of weights_only={weights_only}")
                if _has(subject, BackgroundSaveable) and isinstance(subject, BackgroundSaveable):
                    write, before = subject.snapshot_writer(weights_only=weights_only), _weights(subject)
                    train(subject)
                    _check_digest(path, write(path))
                    subject.load(path)
                    _assert_same(_weights(subject), before, "what is written later has the state of before, in")


def _check_digest(path: Path, told: object) -> None:
    digest = told_digest(told)
    assert not digest or path.is_dir() or digest == digest_of(path), "the digest that it returns is that of the file"


def _has(subject: object, capability: type) -> bool:
    return missing(subject, capability) is None


def _weights(subject: object) -> dict[str, Any]:
    return {name: np.array(array) for name, array in subject.weights()} if isinstance(subject, HasWeights) else {}


def _sizes(activations: Iterable[tuple[str, Any]]) -> Counter[str]:
    sizes = Counter[str]()
    for name, array in activations:
        sizes[name] += np.asarray(array).size
    return sizes


def _check_return(
    subject: object, train: Callable[[Any], object], kept: Any, back: Callable[[Any], None], what: str
) -> None:
    before = _weights(subject)
    train(subject)
    back(kept)
    after = _weights(subject)
    _assert_same(after, before, f"{what} brings back")
    train(subject)
    back(kept)
    again = _weights(subject)
    assert all(np.array_equal(again[name], after[name]) for name in after), f"{what} can be brought back twice"


def _assert_same(found: Mapping[str, Any], wanted: Mapping[str, Any], message: str) -> None:
    assert found.keys() == wanted.keys(), f"{message} the same weights"
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=f"{message} {name} to the bit")


def _assert_close(found: Mapping[str, float], wanted: Mapping[str, float], message: str) -> None:
    assert found.keys() == wanted.keys(), message
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=f"{message}: {name}")
