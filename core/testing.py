"""Test kit for authors of callbacks, plugins and adapters: a small subject, scripted runs, and contract checks."""

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
from .storage.atomic_file import HashedFile, digest_of, reading, returned_digest

__all__ = ["EventRecorder", "LineSubject", "RecordedEvent", "check_callback", "check_subject", "scripted"]


class LineSubject:
    """A straight line that is fitted by gradient descent: a small subject for tests, with many capabilities.

    Args:
        learning_rate: The step size of the gradient descent.

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
        """Take one gradient step, and return the loss before it.

        Args:
            x: The inputs, of shape ``(samples,)``.
            y: The targets, of the same shape.
        """
        error = self.slope * x + self.offset - y
        self.slope -= self.learning_rate * (error * x).mean()
        self.offset -= self.learning_rate * error.mean()
        return float((error**2).mean())

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return ".npz": it writes NumPy archives."""
        return (".npz",)

    def save(self, path: Path, *, weights_only: bool) -> str:
        """Write slope, offset and, unless ``weights_only``, the learning rate; return the digest of the file."""
        more = {} if weights_only else {"learning_rate": np.array(self.learning_rate)}
        with HashedFile(path) as file:
            np.savez(file, slope=self.slope, offset=self.offset, **more)  # type: ignore[arg-type]
        return file.digest

    def load(self, path: Path) -> None:
        """Load a file that ``save`` wrote."""
        with reading(path), path.open("rb") as file, np.load(file) as arrays:
            line = arrays["slope"], arrays["offset"]
            learning_rate = float(arrays.get("learning_rate", self.learning_rate))
        self.restore(line)
        self.learning_rate = learning_rate

    def snapshot(self) -> object:
        """Return copies of slope and offset."""
        return self.slope.copy(), self.offset.copy()

    def restore(self, snapshot: Any) -> None:
        """Set slope and offset to copies of a snapshot."""
        self.slope, self.offset = (np.array(value) for value in snapshot)

    def learning_rates(self) -> Mapping[str, float]:
        """Return the learning rate by name."""
        return {"learning_rate": self.learning_rate}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set the learning rate."""
        self.learning_rate = rates.get("learning_rate", self.learning_rate)

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Return slope and offset by name."""
        return [("line/slope", self.slope), ("line/offset", self.offset)]

    def graph(self) -> Sequence[Node]:
        """Return two nodes, the input and the line."""
        return [Node("input", "Input"), Node("line", "Line", ("input",), (("parameters", "2"),))]


class RecordedEvent(NamedTuple):
    """One call of a hook: its name and its arguments."""

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

    # with wraps, pluggy and check_plugin read the arguments of the specification
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
    """Run callbacks over given metrics instead of a training.

    An epoch without a ``val_`` metric counts as one without validation, unless no epoch has one.

    Args:
        history: The metrics of each epoch, as a mapping from names to values.
        callbacks: The callbacks to run.
        subject: The subject of the run, if the callbacks need one.

    Returns:
        The finished run, and each decision with its epoch, counted from 0.

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
    """Assert that a callback keeps the contract: it is a value without state, and decides the same in every run.

    Its plugins must also restore their state from JSON.

    Args:
        callback: The callback, with any options.
        history: The metrics of some epochs, including those that the callback monitors.
        make_subject: Returns a new subject with the capabilities that the callback needs.

    Raises:
        AssertionError: The contract is broken; the message names the broken part.

    >>> from trainbus.plugins import EarlyStopping
    >>> check_callback(EarlyStopping(monitor="loss", patience=1), [{"loss": 2.0}, {"loss": 2.0}])
    """
    kind = type(callback)
    options = callback.settings()
    assert options.pop("callback") == kind.__name__, "settings() names the class"
    assert kind(**options) == callback, "settings() makes an equal callback"
    assert kind.model_validate_json(callback.model_dump_json()) == callback, "JSON makes an equal callback"
    assert hash(kind(**options)) == hash(callback), "equal callbacks have equal hashes"
    assert set(kind.model_json_schema()["properties"]) == set(kind.model_fields), "the JSON schema has every option"
    assert callback.plugin() is not callback.plugin(), "plugin() makes a new plugin each time"
    check_plugin(kind.__name__, callback.plugin())
    assert not list(callback.validate_for(make_subject())), "the callback accepts the subject"
    runs = [scripted(history, callback, make_subject()) for _ in range(2)]
    assert runs[0][1] == runs[1][1], "a second run decides as the first one did"
    for name, plugin in runs[1][0].plugins.items():
        if isinstance(plugin, HasStateDict) and runs[1][0].callbacks.get(name) == callback:
            _check_state(name, plugin, callback, make_subject())


def _check_state(name: str, plugin: HasStateDict, callback: Callback, subject: object) -> None:
    kept = json.dumps(to_json_data(plugin.state_dict()))
    with suppress(InterruptedError), Run(subject, callback, progress=False) as run:
        again = run.plugins[name]
        assert isinstance(again, HasStateDict), "a plugin with state_dict has it in every run"
        again.load_state_dict(from_json_data(json.loads(kept)))
        now = json.dumps(to_json_data(again.state_dict()))
        # floats may be readings of a clock
        same = json.loads(now, parse_float=lambda _: "") == json.loads(kept, parse_float=lambda _: "")
        assert same, "load_state_dict restores what state_dict returned"
        raise InterruptedError("the restored plugin must not decide anything")


def check_subject(make: Callable[[], object], train: Callable[[Any], object]) -> None:
    """Assert that a subject keeps the contract of every capability that it has.

    Args:
        make: Returns a new subject that is ready to be trained; two of them need not be equal.
        train: Trains a subject for some steps, so that its weights change.

    Raises:
        AssertionError: The contract is broken; the message names the broken part.

    >>> check_subject(LineSubject, lambda line: line.train(np.array([0.0, 1.0]), np.array([1.0, 3.0])))
    """
    subject = make()
    train(subject)
    if _has(subject, HasWeights) and isinstance(subject, HasWeights):
        names = [name for name, _ in subject.weights()]
        assert len(set(names)) == len(names), "names of weights are unique"
        train(subject)
        assert [name for name, _ in subject.weights()] == names, "names of weights stay the same and in order"
    if _has(subject, Snapshotable) and isinstance(subject, Snapshotable):
        _check_restore(subject, train, subject.snapshot(), subject.restore, "a snapshot")
    if _has(subject, HasLearningRate) and isinstance(subject, HasLearningRate):
        halved = {name: rate / 2 for name, rate in subject.learning_rates().items()}
        subject.set_learning_rates(halved)
        _assert_close(subject.learning_rates(), halved, "learning rates are what was set")
        train(subject)
        _assert_close(subject.learning_rates(), halved, "learning rates stay what was set")
    if _has(subject, HasGraph) and isinstance(subject, HasGraph):
        nodes = subject.graph()
        known = {node.name for node in nodes}
        assert len(known) == len(nodes), "names of nodes are unique"
        assert all(set(node.inputs) <= known for node in nodes), "inputs of nodes are nodes"
    if _has(subject, HasActivations) and isinstance(subject, HasActivations):
        before = _weights(subject)
        slices, complete = (_sizes(subject.activations(batch_size)) for batch_size in (2, sys.maxsize))
        assert slices == complete, "activations have the same size in small slices as in one"
        _assert_same(_weights(subject), before, "activations() leaves")
    if _has(subject, Saveable) and isinstance(subject, Saveable) and isinstance(subject, Restorable):
        with tempfile.TemporaryDirectory() as folder:
            for weights_only in (False, True):
                suffixes = subject.suffixes(weights_only=weights_only)
                assert suffixes, "suffixes() names at least one suffix"
                assert all(suffix.startswith(".") for suffix in suffixes), "suffixes start with a dot"
                path = Path(folder) / f"checkpoint{suffixes[0]}"
                _check_digest(path, subject.save(path, weights_only=weights_only))
                _check_restore(subject, train, path, subject.load, f"a file of weights_only={weights_only}")
                if _has(subject, BackgroundSaveable) and isinstance(subject, BackgroundSaveable):
                    write, before = subject.snapshot_writer(weights_only=weights_only), _weights(subject)
                    train(subject)
                    _check_digest(path, write(path))
                    subject.load(path)
                    _assert_same(_weights(subject), before, "a later write has the state at snapshot_writer() in")


def _check_digest(path: Path, returned: object) -> None:
    digest = returned_digest(returned)
    assert not digest or path.is_dir() or digest == digest_of(path), "the returned digest is that of the file"


def _has(subject: object, capability: type) -> bool:
    return missing(subject, capability) is None


def _weights(subject: object) -> dict[str, Any]:
    return {name: np.array(array) for name, array in subject.weights()} if isinstance(subject, HasWeights) else {}


def _sizes(activations: Iterable[tuple[str, Any]]) -> Counter[str]:
    sizes = Counter[str]()
    for name, array in activations:
        sizes[name] += np.asarray(array).size
    return sizes


def _check_restore(
    subject: object, train: Callable[[Any], object], kept: Any, restore: Callable[[Any], None], what: str
) -> None:
    before = _weights(subject)
    train(subject)
    restore(kept)
    after = _weights(subject)
    _assert_same(after, before, f"{what} restores")
    train(subject)
    restore(kept)
    again = _weights(subject)
    assert all(np.array_equal(again[name], after[name]) for name in after), f"{what} can be restored twice"


def _assert_same(found: Mapping[str, Any], wanted: Mapping[str, Any], message: str) -> None:
    assert found.keys() == wanted.keys(), f"{message} the same weights"
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=f"{message} {name} to the bit")


def _assert_close(found: Mapping[str, float], wanted: Mapping[str, float], message: str) -> None:
    assert found.keys() == wanted.keys(), message
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=f"{message}: {name}")
