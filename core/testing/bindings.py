"""Check that a binding resumes exactly: trainings are killed at every event and compared with the unbroken one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..capabilities import HasLearningRate, HasWeights, supports
from ..decision import Forget, Save
from ..hooks import hookimpl
from ..metrics.scalars import to_scalars
from ..run import Run

KILLED_AT = ("on_epoch_begin", "on_batch_end", "on_validation_end", "on_epoch_end", "on_decision", "on_checkpoint")
"""The hooks at which trainings are killed."""

Training = Callable[[object, bool], Run]
"""Trains with a plugin added to its callbacks; resumes if the second argument is True."""


def check_binding(train: Training, *, at: Collection[str] = KILLED_AT) -> None:
    """Assert that a binding makes the same decisions when its training is killed and resumed as when it is not.

    Each training is a process of its own, forked from this one, in a directory of its own. The unbroken training counts
    its events. Then one training is killed at each of them, and resumed in its directory: what it trains from there on,
    its history, its stop, its learning rates and its files must be those of the unbroken training. In none of the
    trainings may a batch or an epoch follow a stop, and the run must have ended when ``train`` returns.

    Args:
        train: Trains a new model in the working directory, from the same seed each time, and returns the run. It
            receives a plugin to add to its callbacks, of which one must save; and whether to resume in the way that is
            to be checked, or to begin anew if nothing was saved yet. Do not train before this call: torch's threads do
            not survive a fork.
        at: The hooks at which trainings are killed.

    Raises:
        AssertionError: A resumed training differs; the message says where it was killed, and what differs.
        OSError: The operating system cannot fork.

    >>> from trainbus.plugins import EarlyStopping, ModelCheckpoint
    >>> def train(plugin, resume):
    ...     line, x = LineSubject(0.1), np.array([0.0, 1.0])
    ...     callbacks = [EarlyStopping(monitor="loss", patience=2, min_delta=0.1), ModelCheckpoint("last"), plugin]
    ...     driver = RunDriver(line, callbacks, resume="auto" if resume else None, verbose=0)
    ...     driver.begin(epochs=6)
    ...     for epoch in range(driver.first_epoch, 6):
    ...         if driver.stopped:
    ...             break
    ...         driver.begin_epoch(epoch)
    ...         driver.end_epoch({"loss": line.train(x, 2 * x)})
    ...     driver.end()
    ...     return driver.run
    >>> from trainbus.binding import RunDriver
    >>> from trainbus.testing import LineSubject
    >>> check_binding(train, at=["on_epoch_end"])
    """
    with tempfile.TemporaryDirectory() as folder:
        unbroken = _trained(train, Path(folder) / "unbroken", None, resume=False)
    moments = [number for number, event in enumerate(unbroken["events"]) if event["hook"] in at]
    assert moments, f"the training has none of the events {', '.join(at)}"
    saves = any(event["hook"] == "on_checkpoint" for event in unbroken["events"])
    continued = kept = False
    for moment in moments:
        event = unbroken["events"][moment]
        where = f"killed at {event['hook']} in epoch {event['epoch'] + 1}, batch {event['batch'] + 1}, and resumed"
        with tempfile.TemporaryDirectory() as folder:
            killed = _trained(train, Path(folder), moment, resume=False)
            resumed = _trained(train, Path(folder), None, resume=True)
        _compare(unbroken, resumed, where)
        continued = continued or _trained_events(resumed) < _trained_events(unbroken)
        kept = kept or killed["saved"] > 0 or not saves
    assert continued or not kept, "every resumed training began anew: the binding does not resume, or nothing was saved"


def _compare(unbroken: Mapping[str, Any], resumed: Mapping[str, Any], where: str) -> None:
    for hook in ("on_batch_end", "on_epoch_end"):
        every, rest = ([each for each in one["events"] if each["hook"] == hook] for one in (unbroken, resumed))
        assert len(rest) <= len(every), f"{where}: {len(rest)} times {hook}, unbroken only {len(every)}"
        for one, other in zip(rest, every[len(every) - len(rest) :], strict=True):
            assert one == other, f"{where}: {hook} is {one}, unbroken {other}"
    for what, expected in unbroken["end"].items():
        found = resumed["end"][what]
        assert found == expected, f"{where}: {what}: {_more(found, expected)}, unbroken {_more(expected, found)}"


def _more(values: object, others: Any) -> object:
    """Return what the others do not have, of lists."""
    if not isinstance(values, list):
        return values
    return [each for each in cast("Iterable[object]", values) if each not in others]


def _trained_events(training: Mapping[str, Any]) -> int:
    """Return how many batches and epochs have ended."""
    return sum(each["hook"] in ("on_batch_end", "on_epoch_end") for each in training["events"])


def _trained(train: Training, folder: Path, moment: int | None, *, resume: bool) -> dict[str, Any]:
    """Train in a process of its own; return what it has recorded, or what it had saved when it was killed."""
    folder.mkdir(exist_ok=True)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            os.chdir(folder)
            recorder = _Recorder(moment, lambda: os.write(writing, b"\n"))
            run = train(recorder, resume)
            assert run.state.phase == "ended", "train() has returned, but its run has not ended; call driver.end()"
            with os.fdopen(writing, "w") as file:
                json.dump({"events": recorder.events, "end": _end_of(run)}, file)
            status = 0
        except BaseException as error:  # noqa: BLE001 - the process ends here
            traceback.print_exc()
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if moment is not None and status == -signal.SIGKILL:
        return {"saved": text.count("\n")}
    assert status == 0, (
        f"the training that {'is resumed' if resume else 'begins anew'} has failed, with the traceback above: "
        f"{text.strip()}"
    )
    assert moment is None, "a second training from the beginning has fewer events than the first one"
    return dict(json.loads(text))


class _Recorder:
    """A plugin that records what another training may not do otherwise, and kills its process at one event.

    Args:
        moment: The number of that event; None for none.
        saved: Called after each checkpoint.
    """

    def __init__(self, moment: int | None, saved: Callable[[], object]) -> None:
        self.events: list[dict[str, Any]] = []
        self._moment, self._saved = moment, saved

    def _record(self, hook: str, run: Run, **values: Any) -> None:
        if self._moment == len(self.events):
            os.kill(os.getpid(), signal.SIGKILL)
        shown = {"hook": hook, "epoch": run.epoch, "batch": run.batch, "step": run.step, **values}
        self.events.append(json.loads(json.dumps(shown)))

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        assert not (run.stopped and not run.resumer.mid_epoch), (
            f"epoch {run.epoch + 1} follows a stop ({run.result.reason}); hand driver.stopped on to the framework"
        )
        self._record("on_epoch_begin", run)

    @hookimpl
    def on_batch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        self._record("on_batch_end", run, metrics=_shown(metrics), weights=_digest(run.subject))

    @hookimpl
    def on_validation_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        self._record("on_validation_end", run, metrics=_shown(metrics))

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        self._record("on_epoch_end", run, metrics=_shown(metrics), rates=_rates(run), weights=_digest(run.subject))

    @hookimpl
    def on_decision(self, run: Run) -> None:
        self._record("on_decision", run)

    @hookimpl
    def on_checkpoint(self, run: Run) -> None:
        self._record("on_checkpoint", run)
        self._saved()


def _end_of(run: Run) -> dict[str, Any]:
    log = [(epoch, each) for epoch, decision in run.state.decision_log for each in decision]
    # what the killed run had saved or deleted after its state, the resumed one need not do again
    decided = [(epoch, each) for epoch, each in log if not isinstance(each, (Save, Forget))]
    end = {
        "history": [(epoch, _shown(metrics)) for epoch, metrics in run.state.epoch_metrics],
        "the reason to stop": run.result.reason,
        "decided": sorted(
            f"epoch {epoch + 1}: {each.by}: {type(each).__name__}: {each.reason}" for epoch, each in decided
        ),
        "saved": sorted({each.path for _, each in log if isinstance(each, Save)}),
        "the files": sorted(str(each) for each in run.state.files),
        "the learning rates": _rates(run),
        "the weights": _digest(run.subject),
    }
    return dict(json.loads(json.dumps(end)))


def _shown(metrics: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in to_scalars(metrics).items()}


def _rates(run: Run) -> dict[str, float]:
    subject = run.subject
    return dict(subject.learning_rates()) if supports(subject, HasLearningRate) else {}


def _digest(subject: object) -> str:
    if not supports(subject, HasWeights):
        return ""
    weights = hashlib.sha256()
    for name, array in subject.weights():
        weights.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return weights.hexdigest()[:16]
