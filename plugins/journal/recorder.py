"""The plugins of Journal: one writes the journal of a run, one writes nothing."""

from __future__ import annotations

import secrets
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from trainbus import (
    Checkpoint,
    CheckpointError,
    Decision,
    JournalError,
    Run,
    SettingsError,
    hookimpl,
    journal,
    listens_to,
)
from trainbus.callback import journal_directory
from trainbus.capabilities import HasLearningRate, has
from trainbus.decision import REQUEST, ScaleLearningRate, SetLearningRate
from trainbus.metrics.scalars import to_scalars
from trainbus.resume.checks.plugin_values import Seconds, Step, Text, parsed
from trainbus.storage.directory_lock import LockKind, lock_directories

from ..append_only_file import AppendOnlyFile
from ..environment import environment
from .epoch_validations import EpochValidations, SavedValidations
from .journal_file import open_journal
from .records import action_record, described, outcome_of, plugin_record, recorded_hparams, recorded_value

PATIENCE = 5.0
"""Seconds that a thread waits for the one that writes."""


class _Saved(TypedDict):
    """What a checkpoint stores of the journal."""

    run: Text
    length: Step
    seconds: Seconds
    elapsed: Seconds
    validations: NotRequired[SavedValidations]


class DisabledJournal:
    """Writes no journal."""

    critical = False

    @hookimpl
    def on_train_begin(self) -> None:
        """Do nothing: a plugin needs at least one hook."""


class JournalRecorder:
    """Writes the journal of one run.

    It implements no batch hook. Each line is written when its event happens, except the first: it is written when the
    number of planned epochs is known.

    Args:
        path: Path of the file, or "auto".
    """

    critical = False

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: AppendOnlyFile | None = None
        self.lock = ExitStack()
        self.run = secrets.token_hex(8)
        self.valid_size: int | None = None  # bytes of the file that remain valid after a resume
        self.end_size: int | None = None  # bytes that remain valid if the run is resumed after a signal has ended it
        self.header_written = self.trains = False
        self.waiting: list[journal.Event] = []  # of a resumed run that has not trained yet, and may be over
        self.failures_written = 0
        self.writing = threading.RLock()
        """Held while lines are written: a thread may write an event."""
        self.start = self.epoch_start = time.monotonic()
        self.earlier_seconds = 0.0  # of the processes that trained the run before it was resumed
        self.in_epoch = False
        self.resumed_seconds = 0.0  # of the present epoch, if the run was resumed in the middle of it
        self.validations = EpochValidations()

    # --- events

    @hookimpl(specname="on_train_begin", tryfirst=True)
    def register(self, run: Run) -> None:
        """Close the journal after everything else, since other plugins may fail when they close."""
        run.at_end(lambda: self._close(run))

    @hookimpl(trylast=True)  # plugins that refuse the run do so before the file is touched
    def on_train_begin(self, run: Run) -> None:
        """Open the file."""
        self.start = time.monotonic()
        try:
            if self.path == "auto":  # the run has locked that directory already
                path = (journal_directory(run.callbacks.values()) or Path()).absolute() / journal.NAME
            else:
                path = Path(self.path).absolute()
                kind = LockKind(f".trainbus.{path.name}.lock", f"journal {path.name}")
                self.lock = lock_directories([path.parent], kind)
            self.file = open_journal(path, partial(run.report_failure, self, ""))
        except (OSError, JournalError, CheckpointError) as error:
            if self.path == "auto":
                raise
            raise SettingsError(f"Journal: path={self.path!r}: {getattr(error, 'strerror', None) or error}") from None

    @hookimpl(tryfirst=True)
    def on_epoch_begin(self, run: Run) -> None:
        """Start the epoch's clock."""
        self.trains = True
        self._write(run)
        self.epoch_start = time.monotonic() - self.resumed_seconds
        self.resumed_seconds, self.in_epoch = 0.0, True

    @hookimpl(tryfirst=True)
    def on_validation_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        """Note the metrics of the validation: the epoch's are those of its last one."""
        self.validations.add(run, metrics)

    @hookimpl(tryfirst=True)  # the epoch's metrics are recorded even if another plugin refuses them
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> None:
        """Write the epoch's metrics."""
        seconds, shown = time.monotonic() - self.epoch_start, to_scalars(metrics)
        self.in_epoch = False
        known: dict[str, Any] = {**_now(run), "unit": run.state.plan.unit, "validations": self.validations.take(run)}
        stats = dict(run.state.stats)
        self._write(run, journal.EpochEnded(**known, seconds=seconds, metrics=shown, stats=stats))

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        """Write the executed decision with its reasons."""
        now, subject = _now(run), run.subject
        if REQUEST in decision.askers:
            if self.file is not None and self.header_written:
                self.end_size = self.file.size
            self._write(run, journal.StopRequested(**now, name=run.state.requested))
        rates = None
        changes = (ScaleLearningRate, SetLearningRate)
        if any(isinstance(action, changes) for action in decision) and has(subject, HasLearningRate):
            rates = dict(subject.learning_rates())
        self._write(run, journal.DecisionMade(**now, actions=tuple(map(action_record, decision)), learning_rates=rates))

    @listens_to("*")
    def on_emitted(self, run: Run, event: str, count: int, values: Mapping[str, Any]) -> None:
        """Write an event of the loop."""
        shown = {name: recorded_value(value) for name, value in values.items()}
        self._write(run, journal.EventEmitted(**_now(run), name=event, count=count, values=shown))

    @hookimpl
    def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        """Write that a checkpoint is complete."""
        content = checkpoint.entry
        event = journal.CheckpointSaved(
            time=time.time(),
            epoch=content.epoch,
            step=content.step,
            path=str(checkpoint.path),
            size=content.size,
            digest=content.digest,
            weights_only=content.weights_only,
        )
        self._write(run, event)

    @hookimpl
    def on_checkpoint_error(self, run: Run) -> None:
        """Write that a checkpoint failed: it is one of ``run.failures``."""
        self._write(run)

    @hookimpl
    def on_exception(self, run: Run, error: BaseException) -> None:
        """Write the exception that ends the run; a signal is recorded as a request to stop instead."""
        if run.state.interrupted:
            return
        self.trains = True
        text = "".join(traceback.format_exception(error))
        self._write(run, journal.ExceptionRaised(**_now(run), error=described(error), traceback=text))

    @hookimpl(tryfirst=True)
    def on_train_end(self, run: Run) -> None:
        """Write what was decided at the resume of a run that was killed before its end was complete."""
        if run.state.end_is_missing:
            self.trains = True
            self._write(run)

    def write_event(self, run: Run, event: journal.Event) -> None:
        """Write an event at once; any thread may call this, also while the training hangs."""
        if self.writing.acquire(timeout=PATIENCE):
            try:
                self._write(run, event)
            finally:
                self.writing.release()

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """Return the identity of the run, the size of the file, and the seconds since the run and the epoch began."""
        length = self.end_size  # what a signal has added is void once the run is resumed
        if length is None and not self.header_written:
            length = self.valid_size
        if length is None:
            length = 0 if self.file is None else self.file.size
        return {
            "run": self.run,
            "length": length,
            "seconds": self._seconds(),
            "elapsed": time.monotonic() - self.epoch_start if self.in_epoch else 0.0,
            "validations": self.validations.state(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue the run's record; lines that were written after the state was saved become invalid."""
        if not self.header_written:
            state = parsed(_Saved, saved)
            self.run, self.valid_size = state["run"], max(state["length"], 0)
            self.resumed_seconds, self.earlier_seconds = state["elapsed"], state["seconds"]
            self.validations.load(state.get("validations", []))

    # --- inner workings

    def _seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.start

    def _write(self, run: Run, *events: journal.Event) -> None:
        """Write events after the header and new failures; those of a run that may be finished wait until it trains."""
        with self.writing:
            self._write_lines(run, events)

    def _write_lines(self, run: Run, events: tuple[journal.Event, ...]) -> None:
        if self.file is None:
            return
        if run.resumed is not None and not self.trains:
            self.waiting += events
            return
        events, self.waiting = (*self.waiting, *events), []
        if not self.header_written:
            self.file.append([_line(self._header(run, self.file))])
            self.header_written = True
        for failure in run.failures[self.failures_written :]:
            plugin, hook, lost, error = failure.plugin, failure.hook, failure.lost, described(failure.error)
            event = journal.FailureReported(time=time.time(), plugin=plugin, hook=hook, lost=lost, error=error)
            self.file.append([_line(event)])
            self.failures_written += 1
        for each in events:
            self.file.append([_line(each)])

    def _header(self, run: Run, file: AppendOnlyFile) -> journal.Event:
        plan = run.state.plan
        known: dict[str, Any] = {
            "time": time.time(),
            "run": self.run,
            "subject": None if run.subject is None else type(run.subject).__name__,
            ("planned_epochs" if plan.unit == "epoch" else "planned_steps"): plan.total,
            "validate_every": plan.validate_every,
            "hparams": recorded_hparams(run.hparams),
            "callbacks": {name: plugin_record(run, name) for name in run.plugins},
            "environment": environment(),
        }
        if run.resumed is None:
            return journal.RunStarted(**known)
        length = min(self.valid_size or 0, file.size)
        checkpoint, epochs = str(run.resumed.path), run.state.epochs_finished
        return journal.RunResumed(**known, checkpoint=checkpoint, epochs=epochs, step=run.step, length=length)

    def _close(self, run: Run) -> None:
        with self.lock:
            if self.file is not None:
                try:
                    self._write_end(run)
                except Exception as error:  # noqa: BLE001 - an observer never ends a run
                    run.report_failure(self, f"no end in {self.path}", error)
                self.file.close()

    def _write_end(self, run: Run) -> None:
        if not self.trains and (run.resumed is not None or run.state.stays_over):  # it was over, and is recorded
            return
        result = run.result
        event = journal.RunEnded(
            time=time.time(),
            outcome=outcome_of(run),
            reason=result.reason,
            epochs=result.epochs,
            step=run.step,
            seconds=self._seconds(),
            best={
                name: journal.BestRecord(value=best.value, epoch=best.epoch, step=best.step)
                for name, best in result.best.items()
            },
            checkpoints=tuple(map(str, result.checkpoints)),
        )
        self._write(run, event)


def _now(run: Run) -> dict[str, Any]:
    """Return when an event happens."""
    return {"time": time.time(), "epoch": run.epoch, "step": run.step}


def _line(event: journal.Event) -> bytes:
    return f"{event.model_dump_json()}\n".encode()
