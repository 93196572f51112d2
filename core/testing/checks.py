"""Checks that callbacks and subjects keep their contracts."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from typing_extensions import TypeIs

from ..callback import Callback
from ..capabilities import (
    BackgroundSaveable,
    ChecksState,
    HasActivations,
    HasGraph,
    HasLearningRate,
    HasStateDict,
    HasWeights,
    Restorable,
    Saveable,
    Snapshotable,
    supports,
)
from ..hooks import check_plugin
from ..resume.rng_state import get_rng_state, restore_rng_state
from ..resume.serialization import from_json_data, to_json_data
from ..run import Run
from ..storage.atomic_file import digest_of, returned_digest
from .event_recorder import scripted
from .line_subject import LineSubject

C = TypeVar("C")


def check_callback(
    callback: Callback, history: Sequence[Mapping[str, Any]], make_subject: Callable[[], object] = LineSubject
) -> None:
    """Assert that a callback fulfils its contract: it has no state, and makes the same decisions in every run.

    The plugins that it makes must also restore their state from JSON.

    Args:
        callback: The callback, with any options.
        history: The metrics of some epochs, including the monitored metric.
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
    with suppress(InterruptedError), Run(subject, callback, verbose=0) as run:
        again = run.plugins[name]
        assert isinstance(again, HasStateDict), "a plugin with state_dict has it in every run"
        if isinstance(again, ChecksState):
            again.check_state_dict(from_json_data(json.loads(kept)))  # its own state is not refused
        again.load_state_dict(from_json_data(json.loads(kept)))
        now = json.dumps(to_json_data(again.state_dict()))
        # ignore floats, which may be clock times
        same = json.loads(now, parse_float=lambda _: "") == json.loads(kept, parse_float=lambda _: "")
        assert same, "load_state_dict restores what state_dict returned"
        raise InterruptedError("the restored plugin must not decide anything")


def check_subject(make: Callable[[], object], train: Callable[[Any], object]) -> None:
    """Assert that a subject fulfils the contract of each of its capabilities.

    What is saved and loaded is compared by the weights, if the subject shows them (``HasWeights``), and by what the
    training gives: a subject that was restored trains on as it did before.

    Args:
        make: Returns a new subject that is ready for training; two new subjects need not be equal.
        train: Trains a subject for some steps on the same data each time, so that its weights change; returns the loss
            of each step, in order, or that of its only step.

    Raises:
        AssertionError: The contract is broken; the message names the broken part.

    >>> check_subject(LineSubject, lambda line: line.train(np.array([0.0, 1.0]), np.array([1.0, 3.0])))
    """
    subject = make()
    train(subject)
    if _has(subject, Snapshotable) or (_has(subject, Saveable) and isinstance(subject, Restorable)):
        _check_comparable(subject, train)
    if _has(subject, HasWeights):
        names = [name for name, _ in subject.weights()]
        assert len(set(names)) == len(names), "names of weights are unique"
        train(subject)
        assert [name for name, _ in subject.weights()] == names, "names of weights stay the same and in order"
    if _has(subject, Snapshotable):
        _check_restore(subject, train, subject.snapshot(), subject.restore, "a snapshot", whole=False)
    if _has(subject, HasLearningRate):
        halved = {name: rate / 2 for name, rate in subject.learning_rates().items()}
        subject.set_learning_rates(halved)
        _assert_close(subject.learning_rates(), halved, "learning rates are what was set")
        train(subject)
        _assert_close(subject.learning_rates(), halved, "learning rates stay what was set")
    if _has(subject, HasGraph):
        nodes = subject.graph()
        known = {node.name for node in nodes}
        assert len(known) == len(nodes), "names of nodes are unique"
        assert all(set(node.inputs) <= known for node in nodes), "inputs of nodes are nodes"
    if _has(subject, HasActivations):
        before = _weights(subject)
        slices, complete = (_sizes(subject.activations(batch_size)) for batch_size in (2, sys.maxsize))
        assert slices == complete, "activations have the same size in small slices as in one"
        np.testing.assert_equal(_weights(subject), before, "activations() leaves the weights to the bit")
    if _has(subject, Saveable) and isinstance(subject, Restorable):
        with tempfile.TemporaryDirectory() as folder:
            for weights_only in (False, True):
                suffixes = subject.suffixes(weights_only=weights_only)
                assert suffixes, "suffixes() names at least one suffix"
                assert all(suffix.startswith(".") for suffix in suffixes), "suffixes start with a dot"
                for suffix in (".ckpt", suffixes[0]):
                    path = Path(folder) / f"checkpoint{suffix}"
                    _check_digest(path, subject.save(path, weights_only=weights_only))
                    what = f"a file of weights_only={weights_only} with the suffix {suffix}"
                    _check_restore(subject, train, path, subject.load, what, whole=not weights_only)
                if _has(subject, BackgroundSaveable):
                    write, before = subject.snapshot_writer(weights_only=weights_only), _weights(subject)
                    train(subject)
                    _check_digest(path, write(path))
                    subject.load(path)
                    late = "a later write has the weights at snapshot_writer() to the bit"
                    np.testing.assert_equal(_weights(subject), before, late)


def _check_digest(path: Path, returned: object) -> None:
    digest = returned_digest(returned)
    assert not digest or path.is_dir() or digest == digest_of(path), "the returned digest is that of the file"


def _has(subject: object, capability: type[C]) -> TypeIs[C]:
    return supports(subject, capability)


def _weights(subject: object) -> dict[str, Any]:
    return {name: np.array(array) for name, array in subject.weights()} if isinstance(subject, HasWeights) else {}


def _sizes(activations: Iterable[tuple[str, Any]]) -> Counter[str]:
    sizes = Counter[str]()
    for name, array in activations:
        sizes[name] += np.asarray(array).size
    return sizes


def _check_restore(
    subject: object,
    train: Callable[[Any], object],
    kept: Any,
    restore: Callable[[Any], None],
    what: str,
    *,
    whole: bool,
) -> None:
    """Check that what was kept is restored.

    Args:
        subject: The subject.
        train: Trains it.
        kept: What was kept.
        restore: Restores that.
        what: What it is, in words.
        whole: Whether it holds the complete training state. Weights alone only determine the loss of the next step.
    """
    generators, before = get_rng_state(subject), _weights(subject)
    losses = _losses(train(subject))
    for times in ("", " twice"):
        restore(kept)
        message = f"{what} restores the weights to the bit{times}"
        np.testing.assert_equal(_weights(subject), before, message)
        restore_rng_state(generators, subject)
        again = _losses(train(subject))
        if whole:
            message = f"the training after {what} was loaded{times} gives the same losses"
            np.testing.assert_equal(again, losses, message)
        else:
            message = f"the first loss after {what} was restored{times} is the same"
            np.testing.assert_equal(again[:1], losses[:1], message)
    restore(kept)


def _check_comparable(subject: object, train: Callable[[Any], object]) -> None:
    """Refuse a training that shows nothing: a subject that restores nothing would pass."""
    before, losses = _weights(subject), _losses(train(subject))
    changes = any(not np.array_equal(each, before[name]) for name, each in _weights(subject).items())
    assert changes or losses != _losses(train(subject)), (
        "train() changes neither weights() nor the loss that it returns, so nothing shows whether a subject is "
        "restored; let it take a step and return the loss of that step"
    )


def _losses(returned: object) -> list[float]:
    """Return the losses of a training; none if it returned none."""
    if returned is None:
        return []
    return [float(each) for each in np.ravel(np.asarray(returned, dtype=float))]


def _assert_close(found: Mapping[str, float], wanted: Mapping[str, float], message: str) -> None:
    assert found.keys() == wanted.keys(), message
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=f"{message}: {name}")
