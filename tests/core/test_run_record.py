"""Pickles and copies of runs."""

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainbus import LoopError, Run, hookimpl
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda each: pickle.loads(pickle.dumps(each)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "twice": lambda each: copy.deepcopy(pickle.loads(pickle.dumps(each))),
}


class Unpicklable(Exception):
    """An error that cannot be pickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")
        self.lock = threading.Lock()


class Fails:
    """An observer that cannot be pickled, and that raises."""

    trainbus_observer = True

    def __init__(self) -> None:
        self.lock = threading.Lock()

    @hookimpl
    def on_epoch_end(self) -> None:
        raise Unpicklable("a", "b")


def trained(kind: str) -> Run:
    """Return a run that has ended, or is open, or has not begun."""
    callbacks: list[Any] = [EarlyStopping(monitor="loss", patience=1), ReduceLROnPlateau(monitor="loss", patience=1)]
    if kind == "with files":
        callbacks += [ModelCheckpoint("run/m-{epoch}", keep_last=2), Journal("run/journal.jsonl")]
    if kind == "with failures":
        callbacks.append(Fails())
    if kind == "without a subject":
        callbacks = []
    run = Run(None if kind == "without a subject" else LineSubject(), callbacks, verbose=0)
    if kind == "new":
        return run
    run.begin()
    try:
        for epoch in run.epochs(4):
            run.log(loss=1.0 + epoch, accuracy=np.float32(0.5), table=np.ones((2, 2)))
            if kind == "with an error" and epoch:
                raise Unpicklable("a", "b")
    except Unpicklable as error:
        run.end(error)
    if kind != "open":
        run.end()
    return run


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "kind", ["plain", "with files", "with failures", "with an error", "without a subject", "open", "new"]
)
def test_a_run_keeps_its_data_in_a_pickle_or_copy(way: str, kind: str) -> None:
    """History, result, decisions and failures are those of the run; the subject and the plugins are left out."""
    run = trained(kind)
    copied = WAYS[way](run)

    if kind not in ("open", "new"):  # of these the copy says that they are over
        assert str(copied.result).replace("TrainbusError: ", "") == str(run.result)
    assert copied.result.best == run.result.best
    assert copied.history["loss"] == run.history["loss"] if run.history else not copied.history
    assert (copied.epoch, copied.step, copied.stopped) == (run.epoch, run.step, run.stopped)
    assert list(copied.callbacks) == list(run.callbacks)
    assert len(copied.failures) == len(run.failures)
    assert str(copied.error).removeprefix("Unpicklable: ") == str(run.error)
    assert copied.subject is None
    with pytest.raises(LoopError):
        copied.begin()
    copied.end()
    run.end()


class Holds:
    """An estimator of a user's own that keeps its run, and that the run's subject may hold."""

    def __init__(self) -> None:
        self.run = trained("plain")
        self.again = self.run
        self.run.subject = self


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_an_object_that_holds_a_run_is_copied_with_it(way: str) -> None:
    """Also if run and object hold each other, and if it holds the run twice."""
    copied = WAYS[way](Holds())

    assert copied.run is copied.again
    assert copied.run.result.epochs == 2
