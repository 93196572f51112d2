"""What listens to a run and keeps its journal."""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from trainbus import Checkpoint, CheckpointError, Decision, JournalError, Run, SettingsError, hookimpl
from trainbus.callback import journal_directory
from trainbus.capabilities import HasLearningRate
from trainbus.decision import REQUEST, Action, ScaleLearningRate
from trainbus.journal import (
    NAME,
    ActionRecord,
    Best,
    CheckpointSaved,
    DecisionMade,
    EpochEnded,
    Event,
    ExceptionRaised,
    FailureReported,
    PluginRecord,
    RunEnded,
    RunResumed,
    RunStarted,
    StopRequested,
)
from trainbus.metrics.scalars import to_scalars
from trainbus.storage.directory_lock import LockKind, lock_directories

from ..environment import environment
from .append_only_file import JournalFile

__all__ = ["Journalist", "Silent"]


WHY = tuple(each.name for each in fields(Action))
"""What every action has beside its own options."""


class Silent:
    """Keeps none."""

    critical = False

    @hookimpl
    def on_train_begin(self) -> None:
        """Nothing to do."""


class Journalist:
    """Keeps the journal of one run.

    It listens to no batch. Its lines are written as things happen; the first one waits until it is known how many
    epochs are planned.

    Args:
        path: of the file, or "auto".
    """

    critical = False

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: JournalFile | None = None
        self.owned = ExitStack()
        self.run = secrets.token_hex(8)
        self.held = 0  # bytes of the file that hold still
        self.introduced = False
        self.told = 0  # failures that are written
        self.began = self.epoch_began = time.monotonic()
        self.inside = False  # an epoch
        self.earlier = 0.0  # seconds of the present epoch before the run was resumed in the middle of it

    # --- events

    @hookimpl(specname="on_train_begin", tryfirst=True)
    def register(self, run: Run) -> None:
        """The journal is closed last, for others may fail as they are closed."""
        run.at_end(lambda: self._close(run))

    @hookimpl(trylast=True)  # whoever refuses the run, because another one writes here, say, does so before
    def on_train_begin(self, run: Run) -> None:
        """Open the file."""
        self.began = time.monotonic()
        if self.path == "auto":
            path = (
                journal_directory(run.callbacks.values()) or Path()
            ).absolute() / NAME  # the run owns that directory already
        else:
            path = Path(self.path).absolute()
            try:
                self.owned = lock_directories(
                    [path.parent], LockKind(f".trainbus.{path.name}.lock", f"journal {path.name}")
                )
            except CheckpointError as error:
                raise SettingsError(f"Journal: path={self.path!r}: {error}") from None
        try:
            self.file = JournalFile(path)
        except (OSError, JournalError) as error:
            if self.path == "auto":
                raise
            raise SettingsError(f"Journal: path={self.path!r}: {getattr(error, 'strerror', None) or error}") from None

    @hookimpl(tryfirst=True)
    def on_epoch_begin(self, run: Run) -> None:
        """The epoch's clock starts."""
        self._introduce(run)
        self.epoch_began = time.monotonic() - self.earlier
        self.earlier, self.inside = 0.0, True

    @hookimpl(tryfirst=True)  # what the epoch has logged is to be read even where another plugin refuses it
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """The epoch's metrics."""
        seconds = time.monotonic() - self.epoch_began
        self.inside = False
        self._write(
            run,
            EpochEnded(time=time.time(), epoch=epoch, step=run.step, seconds=seconds, metrics=to_scalars(metrics)),
        )

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        """What was carried out, and why."""
        now, subject = time.time(), run.subject
        if REQUEST in decision.askers:
            self._write(run, StopRequested(time=now, epoch=run.epoch, step=run.step, name=run.state.requested))
        rates = None
        if any(isinstance(action, ScaleLearningRate) for action in decision) and isinstance(subject, HasLearningRate):
            rates = dict(subject.learning_rates())
        actions = tuple(map(_done, decision))
        self._write(run, DecisionMade(time=now, epoch=run.epoch, step=run.step, actions=actions, learning_rates=rates))

    @hookimpl
    def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        """A file is complete."""
        content = checkpoint.content
        self._write(
            run,
            CheckpointSaved(
                time=time.time(),
                epoch=content.epoch,
                step=content.step,
                path=str(checkpoint.path),
                size=content.size,
                digest=content.digest,
                weights_only=content.weights_only,
            ),
        )

    @hookimpl
    def on_checkpoint_error(self, run: Run) -> None:
        """A file was not written; `run.failures` has it."""
        self._tell_failures(run)

    @hookimpl
    def on_exception(self, run: Run, error: BaseException) -> None:
        """What ends the run; that a signal does is told already."""
        if run.state.interrupted:
            return
        text = "".join(traceback.format_exception(error))
        told = _told(error)
        self._write(run, ExceptionRaised(time=time.time(), epoch=run.epoch, step=run.step, error=told, traceback=text))

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """Which run it is, and how long the file with everything in it that happened until here."""
        return {
            "run": self.run,
            "length": 0 if self.file is None else self.file.size,
            "elapsed": time.monotonic() - self.epoch_began if self.inside else 0.0,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from there: what was written after that is void."""
        if not self.introduced:
            self.run, self.held, self.earlier = saved["run"], saved["length"], saved["elapsed"]

    # --- inner workings

    def _write(self, run: Run, event: Event) -> None:
        if self.file is None:
            return
        self._introduce(run)
        self._tell_failures(run)
        self.file.write(event.model_dump_json())

    def _tell_failures(self, run: Run) -> None:
        if self.file is None or len(run.failures) == self.told:
            return
        self._introduce(run)
        for failure in run.failures[self.told :]:
            told = FailureReported(
                time=time.time(),
                plugin=failure.plugin,
                hook=failure.hook,
                lost=failure.lost,
                error=_told(failure.error),
            )
            self.file.write(told.model_dump_json())
            self.told += 1

    def _introduce(self, run: Run) -> None:
        if self.introduced or self.file is None:
            return
        known: dict[str, Any] = {
            "time": time.time(),
            "run": self.run,
            "subject": None if run.subject is None else type(run.subject).__name__,
            "planned_epochs": run.state.planned_epochs,
            "callbacks": {name: _listed(run, name) for name in run.plugins},
            "environment": environment(),
        }
        if run.resumed is None:
            event: Event = RunStarted(**known)
        else:
            held = min(self.held, self.file.size)
            checkpoint, epochs = str(run.resumed.path), run.state.epochs_finished
            event = RunResumed(**known, checkpoint=checkpoint, epochs=epochs, step=run.step, length=held)
        self.file.write(event.model_dump_json())
        self.introduced = True

    def _close(self, run: Run) -> None:
        with self.owned:
            if self.file is not None:
                self._conclude(run)
                self.file.close()

    def _conclude(self, run: Run) -> None:
        if run.resumed is not None and not self.introduced:  # nothing has happened
            return
        result = run.result
        event = RunEnded(
            time=time.time(),
            outcome=_outcome(run),
            reason=result.reason,
            epochs=result.epochs,
            step=run.step,
            seconds=time.monotonic() - self.began,
            best={name: Best(value=best.value, epoch=best.epoch) for name, best in result.best.items()},
            checkpoints=tuple(map(str, result.checkpoints)),
        )
        try:
            self._write(run, event)
        except OSError as error:
            run.report_failure(self, f"no end in {self.path}", error)


def _listed(run: Run, name: str) -> PluginRecord:
    callback = run.callbacks.get(name)
    settings = {} if callback is None else callback.settings()
    return PluginRecord(callback=settings.pop("callback", ""), settings=settings)


def _done(action: Action) -> ActionRecord:
    options = {each.name: getattr(action, each.name) for each in fields(action) if each.name not in WHY}
    why = {name: getattr(action, name) for name in WHY}
    return ActionRecord(kind=action.kind, options=options, **why)  # type: ignore[arg-type]


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _outcome(run: Run) -> Literal["finished", "stopped", "interrupted", "failed"]:
    if run.state.interrupted or isinstance(run.error, KeyboardInterrupt):
        return "interrupted"
    if run.error is not None:
        return "failed"
    return "stopped" if run.stopped else "finished"
