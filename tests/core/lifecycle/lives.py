"""Lives of runs with a plugin that logs each event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainbus import Callback, Decision, hookimpl
from trainbus.lifecycle.lifecycle import Lifecycle
from trainbus.lifecycle.parts import assemble


class Witness:
    """A plugin that logs each event with the run, and answers the end of an epoch."""

    def __init__(self, answer: Decision | None = None) -> None:
        self.answer = answer
        self.log: list[tuple[object, ...]] = []

    @hookimpl
    def on_train_begin(self, run: object) -> None:
        self.log.append(("begin", run))

    @hookimpl
    def on_epoch_begin(self, run: object, epoch: int) -> None:
        self.log.append(("epoch begin", run, epoch))

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: object, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        self.log.append(("epoch end", run, epoch, dict(metrics)))
        return self.answer

    @hookimpl
    def on_decision(self, run: object, decision: Decision) -> None:
        self.log.append(("decision", run, decision))

    @hookimpl
    def on_exception(self, run: object, error: BaseException) -> None:
        self.log.append(("exception", run, error))

    @hookimpl
    def on_train_end(self, run: object) -> None:
        self.log.append(("end", run))


class Locks(Callback):
    """A callback that writes into the directory "run"."""

    def plugin(self) -> object:
        return Witness()

    def locked_directories(self) -> tuple[str, ...]:
        return (str(Path("run").absolute()),)


def life_of(subject: object, *callbacks: Any, resume: str | None = None) -> Lifecycle:
    options: Any = {"resume": resume, "resume_strict": False, "resume_learning_rates": "checkpoint"}
    return Lifecycle(assemble(subject, callbacks, verbose=0, signals=(), **options))
