"""The events of one training run, as an adapter states them, and what follows from each."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from .bus import Outcome
from .capabilities import HasLearningRate
from .continuation import Continuation
from .decision import REQUEST, Decision, Forget, Save, Stop
from .dispatch import Answers, CompiledHook
from .errors import LoopError, MissingMetric, SettingsError
from .failures import LOG
from .listeners import Listed, listeners
from .locations import Location, Source, location
from .locks import owning
from .places import at
from .signals import DEFAULT, Signals
from .stop_file import StopFile

__all__ = ["Events"]


class Events(Continuation):
    """One training run from its first event to its last: what `Run` is to an adapter, and to plugins."""

    def __init__(
        self,
        subject: object = None,
        callbacks: Listed | Sequence[Listed] = (),
        *,
        progress: bool = True,
        resume: Source | None = None,
        resume_strict: bool = False,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        super().__init__(subject, resume=resume, resume_strict=resume_strict)
        self._listens_to = (signals,) if isinstance(signals, str) else tuple(signals)
        self._signals: Signals | None = None
        self._stop_file: StopFile | None = None
        self._rates: Mapping[str, float] = {}
        self._validating = False
        found = listeners(callbacks, subject, progress=progress)
        self.callbacks = {each.name: each.callback for each in found if each.callback is not None}
        self.plugins = {each.name: each.plugin for each in found}
        self._owned = ExitStack()
        self._bus.register((each.name, each.plugin) for each in found)

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
            directories = {location(each) for callback in self.callbacks.values() for each in callback.owns()}
            self._owned = owning(directories)
            for directory in directories:
                at(directory).sweep()
            self._bus.directories = tuple(sorted(directories, key=str))
            request = _weak(self._request)
            self._signals = Signals(self._listens_to, request)
            self._stop_file = StopFile(self._bus.directories, request)
            self._owned.callback(self._stop_file.close)
            self._find()
            self._tell("on_train_begin", self._bus.on_train_begin)
            self._tell_outcome(self._carry_over())
            self._stand()
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
        if self._goes_on_inside:
            if self._bus.on_epoch_begin is not None:
                self._bus.on_epoch_begin(self, epoch)  # what was decided when it began first is done
            self._enter()
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
            self.obey_request()
            return
        answers = end(self, self.epoch, batch, counters.steps, self.means if metrics is None else metrics)
        if answers is not None:
            self._obey("on_batch_end", answers)
        self.obey_request()

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
        self._tell_outcome(self._bus.written(wait=False))
        self._tell("on_epoch_end", self._bus.on_epoch_end, self.epoch, self.metrics)
        if self._stop_file is not None:
            self._stop_file.look()
        self.obey_request()

    def obey_request(self) -> None:
        """End the run here, between two batches or epochs, if a signal or a stop file has asked for it.

        Raises:
            KeyboardInterrupt: it has; plugins were told, and what raising this out of the loop ends is in order.
        """
        if not self.requested or self.interrupted:
            return
        self.interrupted = True
        self._tell_decision(Decision(frozenset(each for each in self.stops if each.by == REQUEST)))
        raise KeyboardInterrupt(self.requested)

    def _request(self, name: str) -> None:
        """Take note that `name` asks for the end: called between any two instructions, or in another thread."""
        if not self.requested:
            self.requested = name
            self.stops.append(Stop(reason=f"{name} asked for it", by=REQUEST))

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
        with ExitStack() as last, self._owned:  # an interrupt, too, leaves the directories to others
            if self._signals is not None:
                last.callback(self._signals.close)
            if error is not None:
                errors += self._bus.tell_all("on_exception", run=self, error=error)[1]
            decision, raised = self._bus.tell_all("on_train_end", run=self)
            errors += raised
            if isinstance(error, KeyboardInterrupt) and self.requested and not self.interrupted:
                self._bus.writer.abandon()  # asked for twice: at once
            try:
                self._carry_out(decision)
                self._tell_outcome(self._bus.written(wait=True))
            except Exception as failure:  # noqa: BLE001 - it goes on below
                errors.append(failure)
        for more in errors if error is not None else errors[1:]:
            (error or errors[0]).add_note(f"at the end of the run also: {type(more).__name__}: {more}")
        if self._signals is not None:
            self._tell_interrupted()
            self._signals.exit(error)
        if errors and error is None:
            raise errors[0]

    def _tell_interrupted(self) -> None:
        if self.interrupted:
            newest = f"resume='auto' goes on from {self.files[-1]}" if self.files else "nothing was saved"
            LOG.warning(
                "%s: the run ended in epoch %d after %d steps; %s", self.requested, self.epoch + 1, self.step, newest
            )

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
        saved = [location(action.path) for action in done if isinstance(action, Save)]
        for path in (*saved, *(location(action.source) for action in done if isinstance(action, Forget))):
            self._files.pop(path, None)
        self._files |= dict.fromkeys(saved)  # at the end, also those that were there before
        for checkpoint in committed:
            self.checkpoints.append(checkpoint)
            if self._bus.on_checkpoint is not None:
                self._bus.on_checkpoint(self, checkpoint)
        for path, step, error in unwritten:
            if not self._is_there(path):
                self._files.pop(path, None)
            if self._bus.on_checkpoint_error is not None:
                self._bus.on_checkpoint_error(self, path, step, error)
        self.stops += [action for action in done if isinstance(action, Stop)]
        if done:
            self._tell_decision(done)

    def _tell_decision(self, decision: Decision) -> None:
        self.decided.append((self.epoch, decision))
        if self._bus.on_decision is not None:
            self._bus.on_decision(self, decision)

    def _is_there(self, path: Location) -> bool:
        """Whether there is a file that was to be replaced; where that cannot be told, whether this run wrote one."""
        try:
            return at(path).size() is not None
        except OSError:
            return any(each.path == path for each in self.checkpoints)

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


def _weak(method: Callable[[str], object]) -> Callable[[str], None]:
    """Calls the method as long as its object lives: a run that is lost must not go on hearing signals."""
    reference = weakref.WeakMethod(method)

    def call(name: str) -> None:
        alive = reference()
        if alive is not None:
            alive(name)

    return call
