"""The events of one training run, as an adapter states them, and what follows from each."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from .checkpoints import remove_debris
from .distributed.joining import Joining
from .engine.dispatch import CompiledHook, HookResults
from .engine.plugin_list import CallbackLike, build_plugins
from .engine.signals import DEFAULT, Signals
from .engine.stop_file import StopFile
from .errors import LoopError
from .failures import LOG, is_observer
from .metrics.names import check_name
from .metrics.scalars import fetch_together
from .storage.backend import existing
from .storage.directory_lock import lock_directories
from .storage.paths import Source, location
from .storage.remote_cache import downloads_kept

__all__ = ["Events"]


class Events(Joining):
    """One training run from its first event to its last: what `Run` is to an adapter, and to plugins."""

    def __init__(
        self,
        subject: object = None,
        callbacks: CallbackLike | Sequence[CallbackLike] = (),
        *,
        progress: bool = True,
        resume: Source | None = None,
        resume_strict: bool = False,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        super().__init__(subject, resume=resume, resume_strict=resume_strict, signals=signals)
        self._rates: Mapping[str, float] = {}
        self._validating = False
        found = build_plugins(callbacks, subject, progress=progress)
        self.callbacks = {each.name: each.callback for each in found if each.callback is not None}
        if self.rank:
            found = [each for each in found if not is_observer(each.plugin)]
        self.plugins = {each.name: each.plugin for each in found}
        self._owned = ExitStack()
        self._bus.through = None if self._agreement is None else self._through
        self._bus.register((each.name, each.plugin) for each in found)

    # --- the events that an adapter states

    def begin(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        """The training begins.

        Args:
            goes_on: whether the loop is still there, asked when a signal comes: for loops that may be left without a
                word. A signal that no loop would obey does what it would have done without the run.

        Raises:
            SettingsError: a plugin refuses its options, at the last moment before training time is spent.
            CheckpointError: another run writes into the same directory.
        """
        self._require("new", "a run cannot be used twice; make a new one with the same callbacks")
        self._state = "open"
        try:
            self._greet()
            with self._sharing():
                self._own()
            request = _weak(self._request)
            self._signals = Signals(self._listens_to, request, goes_on)
            self._stop_file = StopFile(self._bus.directories if self.rank == 0 else (), request)
            self._owned.callback(self._stop_file.close)
            with downloads_kept():
                self._find()
            self._tell("on_train_begin", self._bus.on_train_begin)
            self._carry_over()
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
                self._repeat(self._bus.on_epoch_begin, epoch)
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

    def trained(self, batches: int) -> None:
        """So many batches of the epoch were trained on: for an adapter that tells of them later, or not one by one."""
        self._counters.done = batches

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
            shown = metrics or self.means.read("val_")
            self._tell("on_validation_end", self._bus.on_validation_end, self.epoch, shown)

    def end_epoch(self, metrics: Mapping[str, Any] | None = None) -> None:
        """The epoch is over; `metrics` are taken together with what was logged.

        Raises:
            MissingMetric: a monitored metric is not among them, though it should be.
            SettingsError: a name holds what cannot be printed.
        """
        for name in metrics or ():
            check_name(name)
        rates = self._rates or self._learning_rates()
        self.metrics = fetch_together(rates, self._means_of_all(), metrics or {})
        self._watch_for_all()
        self._ended = self.epoch + 1
        self.past.append((self.epoch, self.metrics))
        self._tell_of(self._written())
        self._tell("on_epoch_end", self._bus.on_epoch_end, self.epoch, self.metrics)
        self._carry_out_heeded()
        if self._stop_file is not None:
            self._stop_file.look()
        self.obey_request()

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
        errors: list[Exception] = []
        with ExitStack() as last, self._owned:  # an interrupt, too, leaves the directories to others
            if self._signals is not None:
                last.callback(self._signals.close)
            self.error = self._arrive(error)
            if self.error is not None:
                errors += [self.error] if error is None and isinstance(self.error, Exception) else []
                errors += self._bus.tell_all("on_exception", run=self, error=self.error)[1]
            decision, raised = self._bus.tell_all("on_train_end", run=self)
            errors += raised
            if isinstance(error, KeyboardInterrupt) and self.requested and not self.interrupted:
                self._bus.writer.abandon()  # asked for twice: at once
            self._conclude(decision, errors)
            if errors or self.error is not None:  # what was being written then need not have come to be there
                self._files = dict.fromkeys(existing(self._files))
        for more in errors if error is not None else errors[1:]:
            (error or errors[0]).add_note(f"at the end of the run also: {type(more).__name__}: {more}")
        if self._signals is not None:
            self._tell_interrupted([*errors, *([error] if isinstance(error, Exception) else [])])
            self._signals.exit(error)
        if errors and error is None:
            raise errors[0]

    def _tell_interrupted(self, errors: Iterable[Exception]) -> None:
        if not self.requested or self.rank:
            return
        for each in errors:  # most signals end the process before anybody sees what is raised
            LOG.warning("%s: %s: %s", self.requested, type(each).__name__, each)
        if self.interrupted:
            newest = f"resume='auto' goes on from {self.files[-1]}" if self.files else "nothing was saved"
            LOG.warning(
                "%s: the run ended in epoch %d after %d steps; %s", self.requested, self.epoch + 1, self.step, newest
            )

    # --- inner workings

    def _own(self) -> None:
        """Take the directories that callbacks write into, where this is the process that writes."""
        directories = {location(each) for callback in self.callbacks.values() for each in callback.locked_directories()}
        self._bus.directories = tuple(sorted(directories, key=str))
        if self.rank == 0:
            self._owned = lock_directories(directories)
            for directory in directories:
                remove_debris(directory)

    def _require(self, state: str, otherwise: str) -> None:
        if self._state != state:
            raise LoopError(otherwise)

    def _tell(self, name: str, hook: CompiledHook | None, *values: Any) -> None:
        if hook is not None and (answers := hook(self, *values)):
            self._obey(name, answers)

    def _obey(self, hook: str, answers: HookResults) -> None:
        self._carry_out(self._bus.decision(hook, answers))


def _weak(method: Callable[[str], object]) -> Callable[[str], None]:
    """Calls the method as long as its object lives: a run that is lost must not go on hearing signals."""
    reference = weakref.WeakMethod(method)

    def call(name: str) -> None:
        alive = reference()
        if alive is not None:
            alive(name)

    return call
