"""The events of one training run, as an adapter states them, and what follows from each."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TypeVar

from .bus import Bus, Outcome
from .capabilities import HasLearningRate
from .checkpoints import Checkpoint
from .counters import Counters
from .decision import Decision, Forget, Stop
from .dispatch import Answers, CompiledHook
from .errors import LoopError, MissingMetric, SettingsError
from .failures import LOG, Failure
from .files import sweep
from .listeners import Listed, listeners
from .loaders import bring_back, state_of
from .locks import owning
from .memory import Position
from .metrics import Means
from .monitor import Monitor
from .plain import from_plain
from .randomness import random_state
from .result import Result
from .resume import Resumption, find

__all__ = ["Events"]

T = TypeVar("T")


class Events:
    """One training run from its first event to its last: what `Run` is to an adapter, and to plugins."""

    def __init__(
        self,
        subject: object = None,
        callbacks: Listed | Sequence[Listed] = (),
        *,
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
        resume_strict: bool = False,
    ) -> None:
        self.subject = subject
        self.epoch = 0
        self.planned_epochs: int | None = None
        self.planned_batches: int | None = None
        self.validation_freq: int | Collection[int] | None = 1
        """Which epochs have a validation, as in Keras: every n-th, or these (counted from 1), so none where this is
        empty; None where unknown."""
        self.metrics: Mapping[str, Any] = {}
        """The metrics of the last epoch that ended."""
        self.error: BaseException | None = None
        self.stops: list[Stop] = []
        self.checkpoints: list[Checkpoint] = []
        """All that were committed, also those that were replaced or forgotten since."""
        self.resumed: Checkpoint | None = None
        """The checkpoint that this run goes on from; None where it began afresh."""
        self.past: list[tuple[int, Mapping[str, Any]]] = []
        """Each epoch that is over, with its metrics."""
        self.means = Means()
        """The running means of the present epoch."""
        self.loaders: list[Any] = []
        """Of each loop over batches of the present epoch, or else of the last one, its loader."""
        self.loop_random: Any = None
        self.loop_loader: Any = None
        self._resume, self._strict = resume, resume_strict
        self._resumption: Resumption | None = None
        self._files: dict[Path, None] = {}
        self._began = self._ended = 0  # numbers of epochs that began and that are over
        self._loops = 0
        self._counters = Counters()
        self._rates: Mapping[str, float] = {}
        self._monitors: dict[tuple[str, str], Monitor] = {}
        self.validated = False
        """Whether the present epoch has had a validation."""
        self._validating = False
        self._state: Literal["new", "open", "ended"] = "new"
        found = listeners(callbacks, subject, progress=progress)
        self.callbacks = {each.name: each.callback for each in found if each.callback is not None}
        """Name of the plugin to the callback that made it."""
        self.plugins = {each.name: each.plugin for each in found}
        self._owned = ExitStack()
        self._bus = Bus(subject)
        self._bus.register((each.name, each.plugin) for each in found)

    # --- what plugins and loops read

    @property
    def batch(self) -> int:
        """The present batch of the epoch, or its last, counted from 0."""
        return self._counters.present_batch

    @batch.setter
    def batch(self, batch: int) -> None:
        self._counters.batch = batch

    @property
    def step(self) -> int:
        """Weight updates made in the whole run; a loop with updates of its own counts them here."""
        return self._counters.present_step

    @step.setter
    def step(self, step: int) -> None:
        self._counters.steps += step - self.step

    @property
    def files(self) -> list[Path]:
        """The checkpoints that were written and not forgotten since, in the order of their last writing."""
        return list(self._files)

    @property
    def position(self) -> Position:
        """How far the run has come."""
        if self._began == self._ended:
            return Position(epochs=self._ended)
        loops, batches = max(self._loops - 1, 0), self._counters.present_done
        return Position(epochs=self.epoch, inside=True, loops=loops, batches=batches)

    @property
    def stopped(self) -> bool:
        """Whether a decision asked for the end of the training."""
        return bool(self.stops)

    @property
    def failures(self) -> list[Failure]:
        """What went wrong without ending the run: errors of observers, and checkpoints that could not be written."""
        return list(self._bus.failures.all)

    @property
    def history(self) -> dict[str, list[Any]]:
        """Name to values, one for each epoch that ended; None where an epoch did not log the metric."""
        names = dict.fromkeys(name for _, metrics in self.past for name in metrics)
        return {name: [metrics.get(name) for _, metrics in self.past] for name in names}

    @property
    def result(self) -> Result:
        """How the run ended, or how it stands."""
        best = {monitor.metric: monitor.best for monitor in self._monitors.values() if monitor.best is not None}
        rates = {name: values for name, values in self.history.items() if name.split("/")[0] == "learning_rate"}
        reason = "; ".join(dict.fromkeys(each.reason for each in self.stops)) or self._plain_reason()
        files, failures = tuple(self._files), tuple(self.failures)
        return Result(len(self.past), self.stopped, reason, best, files, rates, failures)

    def monitor(self, metric: str, mode: Literal["auto", "min", "max"] = "auto") -> Monitor:
        """The watched metric of this name; every plugin that asks for the same one gets the same.

        Raises:
            UnknownDirection: mode is "auto" and nothing tells which way the metric improves.
        """
        if (metric, mode) not in self._monitors:
            self._monitors[metric, mode] = Monitor(self, metric, mode)
        return self._monitors[metric, mode]

    def validates(self, epoch: int) -> bool:
        """Whether metrics named `val_` are due by the end of the epoch.

        It has had a validation, or should have had one, or no epoch ever will: then there is no use in waiting.
        """
        freq = self.validation_freq
        if self.validated or freq is None:
            return self.validated
        return (epoch + 1) % freq == 0 if isinstance(freq, int) else epoch + 1 in freq or not freq

    # --- the events that an adapter states

    def begin(self) -> None:
        """The training begins.

        Raises:
            SettingsError: a plugin refuses its options, at the last moment before training time is spent.
            CheckpointError: another run writes into the same directory.
        """
        self._require("new", "a run cannot be used twice; make a new one with the same callbacks")
        self._state = "open"
        try:
            directories = {Path(each) for callback in self.callbacks.values() for each in callback.owns()}
            self._owned = owning(directories)
            for directory in directories:
                sweep(directory)
            self._bus.directories = tuple(sorted(directories))
            self._find()
            self._tell("on_train_begin", self._bus.on_train_begin)
            self._go_on()
        except BaseException as error:
            self.end(error)
            raise

    def begin_epoch(self, epoch: int) -> None:
        """The epoch, counted from 0, begins."""
        self.epoch, self._began = epoch, epoch + 1
        self._bus.settle()
        self.means.clear()
        self._rates = {}
        self.validated = False
        self._loops = self._counters.done = 0
        resumption = self._resumption
        if resumption is not None and resumption.inside:
            if self._bus.on_epoch_begin is not None:
                self._bus.on_epoch_begin(self, epoch)  # what was decided when it began first is done
            resumption.recall(self.subject, self._bus.failures)
            resumption.set_random(self.subject, loop=True)
            self.loop_random = from_plain(resumption.memory.loop_random)
            self.means.bring_back(from_plain(resumption.memory.means))
            self.validated = resumption.memory.validated
            self._counters.done = resumption.memory.position.batches
            return
        self._note_random()
        self._tell("on_epoch_begin", self._bus.on_epoch_begin, epoch)
        self._note_random()

    def begin_batch(self, batch: int) -> None:
        """The batch, counted from 0 in its epoch, begins."""
        self._counters.batch = batch
        begin = self._bus.on_batch_begin
        if begin is not None and (answers := begin(self, self.epoch, batch)) is not None:
            self._obey("on_batch_begin", answers)

    def end_batch(self, batch: int, metrics: Mapping[str, Any] | None = None, steps: int = 1) -> None:
        """The batch was trained on, in `steps` weight updates; `metrics` are the epoch's means until here."""
        counters = self._counters
        counters.batch, counters.done = batch, batch + 1
        counters.steps += steps
        end = self._bus.on_batch_end
        if end is None:
            return
        answers = end(self, self.epoch, batch, counters.steps, self.means if metrics is None else metrics)
        if answers is not None:
            self._obey("on_batch_end", answers)

    @property
    def hears_batches(self) -> bool:
        """Whether any plugin listens to batches, so that an adapter may leave them untold."""
        return self._bus.on_batch_begin is not None or self._bus.on_batch_end is not None

    def begin_validation(self) -> None:
        """The epoch's validation begins."""
        self._tell("on_validation_begin", self._bus.on_validation_begin, self.epoch)

    def end_validation(self, metrics: Mapping[str, Any] | None = None) -> None:
        """The epoch's validation is over; `metrics`, where given, have names that begin with `val_`."""
        self.validated = True
        if self._bus.on_validation_end is not None:
            shown = {name: self.means[name] for name in self.means if name.startswith("val_")}
            self._tell("on_validation_end", self._bus.on_validation_end, self.epoch, metrics or shown)

    def end_epoch(self, metrics: Mapping[str, Any] | None = None) -> None:
        """The epoch is over; `metrics` are taken together with what was logged.

        Raises:
            MissingMetric: a monitored metric is not among them, though it should be.
        """
        self.metrics = {**(self._rates or self._learning_rates()), **self.means.read(), **(metrics or {})}
        self._watch()
        self._ended = self.epoch + 1
        self.past.append((self.epoch, self.metrics))
        self._tell("on_epoch_end", self._bus.on_epoch_end, self.epoch, self.metrics)

    def at_end(self, close: Callable[[], object]) -> None:
        """Call `close` when the run is over, whatever ended it, and every plugin has heard of its last decision.

        What was registered last is called first.
        """
        self._require("open", "a run has no end to wait for before it has begun or when it is over")
        self._owned.callback(close)

    def end(self, error: BaseException | None = None) -> None:
        """The training is over, by itself or by `error`; may be called again, without effect.

        Every plugin is told even if one raises; what was raised first goes on, unless `error` is on its way already.
        """
        if self._state != "open":
            self._state = "ended"
            return
        self._state = "ended"
        self.error = error
        errors: list[Exception] = []
        with self._owned:  # an interrupt, too, leaves the directories to others
            if error is not None:
                errors += self._bus.tell_all("on_exception", run=self, error=error)[1]
            decision, raised = self._bus.tell_all("on_train_end", run=self)
            errors += raised
            try:
                if decision:
                    self._carry_out(decision)
            except Exception as failure:  # noqa: BLE001 - it goes on below
                errors.append(failure)
        for more in errors if error is not None else errors[1:]:
            (error or errors[0]).add_note(f"at the end of the run also: {type(more).__name__}: {more}")
        if errors and error is None:
            raise errors[0]

    # --- going on from a checkpoint

    def go_on(self) -> None:
        """Take back every stop, so that a run that had stopped before it was resumed trains on."""
        self.stops.clear()

    def first_epoch(self, initial_epoch: int, epochs: int) -> int:
        """The epoch to begin with, counted from 0, where the loop by itself would begin with `initial_epoch`."""
        if self.resumed is None:
            return initial_epoch
        if self.position.epochs >= epochs and not self.stopped:
            LOG.warning("resumed from %s: all %d epochs are done; to train on, ask for more", self.resumed.path, epochs)
        return max(initial_epoch, self.position.epochs)

    @property
    def to_skip(self) -> int:
        """Batches of the present epoch that were trained on before the run was interrupted, 0 for none.

        An adapter passes over so many without training, then calls `skipped`.
        """
        inside = self._resumption is not None and self._resumption.inside
        return self._resumption.memory.position.batches if inside and self._resumption is not None else 0

    def skipped(self) -> None:
        """The batches to skip are passed over; whatever training them changed is now as it was then."""
        if self._resumption is not None:
            self._resumption.arrive(self.subject)

    def begin_loop(self, loader: Iterable[T]) -> tuple[Iterable[T], int]:
        """A loop over the batches of the epoch begins; what to go through, and the number of its first batch."""
        number = self._loops
        self._loops += 1
        self.loaders[number : number + 1] = [loader]
        resumption = self._resumption
        if resumption is not None and resumption.inside:
            self._counters.done = resumption.first_batch(number)
            self.loop_loader = resumption.memory.loop_loader
            return resumption.rest(number, loader, self.subject), self._counters.done
        if resumption is not None:
            bring_back(loader, resumption.loaders.pop(number, None))
        self._counters.done = 0
        if number:
            self._note_random()
        self.loop_loader = state_of(loader) if self._bus.directories else None
        return loader, 0

    def _find(self) -> None:
        checkpoint = None if self._resume is None else find(self._resume, self.callbacks.values())
        if checkpoint is None:
            return
        resumption = self._resumption = Resumption(checkpoint, self.plugins, self.callbacks)
        resumption.tell(strict=self._strict)
        resumption.bring_back(self.subject, self._bus.slots)
        memory, position = resumption.memory, resumption.memory.position
        self.resumed = checkpoint
        self.past = [(epoch, from_plain(metrics)) for epoch, metrics in memory.history]
        self.metrics = self.past[-1][1] if self.past else {}
        self.epoch, self.step = checkpoint.epoch, checkpoint.step
        self._began = self._ended = position.epochs
        self._counters.done = position.batches
        self.batch = max(position.batches - 1, 0)
        self._files = dict.fromkeys(Path(file) for file in memory.files if Path(file).exists())
        self.stops += resumption.stops()

    def _go_on(self) -> None:
        """What was decided last may not have been carried out to its end."""
        resumption = self._resumption
        if resumption is None:
            return
        resumption.recall(self.subject, self._bus.failures)
        position = resumption.memory.position
        if position.inside:
            self._began = position.epochs + 1
        decision = resumption.decision()
        self._tell_outcome(self._bus.finish(decision, self, resumption.checkpoint))
        if self.stopped:
            LOG.warning(
                "resumed from %s: this run had stopped: %s; it stays finished. To train on, change the settings of "
                "whoever stopped it, or call go_on() of the run",
                resumption.checkpoint.path,
                self.result.reason,
            )
        if not resumption.inside:
            resumption.set_random(self.subject)

    def _note_random(self) -> None:
        if self._bus.directories:
            self.loop_random = random_state(self.subject)

    # --- inner workings

    def _require(self, state: str, otherwise: str) -> None:
        if self._state != state:
            raise LoopError(otherwise)

    def _tell(self, name: str, hook: CompiledHook | None, *values: Any) -> None:
        if hook is not None and (answers := hook(self, *values)):
            self._obey(name, answers)

    def _obey(self, hook: str, answers: Answers) -> None:
        self._carry_out(self._bus.decision(hook, answers))

    def _carry_out(self, decision: Decision) -> None:
        self._tell_outcome(self._bus.carry_out(decision, self))

    def _tell_outcome(self, outcome: Outcome) -> None:
        done, committed, unwritten = outcome
        for action in done:
            if isinstance(action, Forget):
                self._files.pop(Path(action.source), None)
        for checkpoint in committed:
            self.checkpoints.append(checkpoint)
            self._files.pop(checkpoint.path, None)  # so that it goes to the end
            self._files[checkpoint.path] = None
            if self._bus.on_checkpoint is not None:
                self._bus.on_checkpoint(self, checkpoint)
        if self._bus.on_checkpoint_error is not None:
            for path, error in unwritten.items():
                self._bus.on_checkpoint_error(self, path, error)
        self.stops += [action for action in done if isinstance(action, Stop)]
        if done and self._bus.on_decision is not None:
            self._bus.on_decision(self, done)

    def _learning_rates(self) -> Mapping[str, float]:
        return self.subject.learning_rates() if isinstance(self.subject, HasLearningRate) else {}

    def _watch(self) -> None:
        problems: list[str] = []
        for monitor in self._monitors.values():
            try:
                monitor.watch(self.metrics, self.epoch)
            except SettingsError as error:
                if len(self._monitors) == 1:
                    raise
                problems.append(str(error))
        if problems:
            raise MissingMetric("\n".join(dict.fromkeys(problems)))

    def _plain_reason(self) -> str:
        if isinstance(self.error, KeyboardInterrupt):
            return "interrupted"
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"
        if self._state != "ended":
            return "not over yet"
        return "all epochs done" if self.epoch + 1 == self.planned_epochs else "the loop ended"
