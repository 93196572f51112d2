"""Keras 3, on any backend: a Keras callback that makes a run of every `fit`."""

# Keras declares no types, and tells nobody but its own classes of calls between layers and of what fit was given
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, TypeVar

import trainbus
from trainbus import Decision, LoopError, Run
from trainbus.capabilities import HasLearningRate
from trainbus.listeners import as_list
from trainbus.metrics import Means
from trainbus.signals import DEFAULT
from trainbus.storage.locations import Source

from .keras_subject import KerasSubject

import keras  # isort: skip # after the import that says what to install where there is none

__all__ = ["KerasCallback", "KerasSubject"]

F = TypeVar("F", bound=Callable[..., Any])


class _StopFit:
    """Tells Keras that a decision ends the training."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @trainbus.hookimpl
    def on_decision(self, decision: Decision) -> None:
        if decision.stops:
            self.model.stop_training = True


JAX_STATE = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
"""What a training step of JAX's is given, in this order."""

_OPEN: weakref.WeakSet[_Fit] = weakref.WeakSet()
"""Every call of `fit` whose run may be open."""


class _Fit:
    """One call of `fit`, and its run."""

    def __init__(
        self,
        callbacks: Sequence[Any],
        model: Any,
        params: Mapping[str, Any],
        events: Any,
        given: Mapping[str, Any],
        hear_batches: Callable[[], object],
        validation_data: Any = None,
        timeout: float = 1800,
        **options: Any,
    ) -> None:
        steps = given.get("validation_steps") if validation_data is None else None
        data = given.get("validation_data") if validation_data is None else validation_data
        self.subject = KerasSubject(model, validation_data=data, validation_steps=steps, timeout=timeout)
        self.run = Run(self.subject, [*callbacks, _StopFit(model)], progress=False, **options)
        self.run.planned_epochs, self.run.planned_batches = params.get("epochs"), params.get("steps")
        self.run.validation_freq = _validation_freq(given)
        self.steers_rates = any(HasLearningRate in each.requires() for each in self.run.callbacks.values())
        self.hear_batches = hear_batches
        self.open = True
        self.calls = self.batches = self.skip = 0
        self.samples = 0.0
        self.skipping = False
        self.first_iteration = self.iteration = self.subject.iterations()
        # held weakly: once Keras's list of callbacks is gone, fit is over, whatever ended it
        self.events: Callable[[], Any] = lambda: None
        if events is not None:
            self.events = weakref.ref(events)
            self.net = weakref.finalize(events, self.lose)
        # in a loop that a person writes round a list of callbacks, no frame is known
        self.goes_on = functools.partial(_used, self.events) if given else (lambda: True)
        self.watch_steps(model)
        _OPEN.add(self)

    def gone(self) -> bool:
        """Whether no thread is inside this call of `fit` any more."""
        return self.open and not _used(self.events)

    def watch_steps(self, model: Any) -> None:
        """Count the training steps of an epoch, and let what one raises end the run."""
        step = model.train_function

        def train_function(*args: Any) -> Any:
            try:
                logs = self.pass_over(*args) if self.skip else step(*args)
            except BaseException as error:
                # JAX and TensorFlow fetch the data in the step, and its end is no error
                if not isinstance(error, StopIteration) and type(error).__name__ != "OutOfRangeError":
                    self.end(error)
                raise
            self.calls += 1
            self.run.trained(self.calls * model.steps_per_execution)
            if self.run.requested:
                self.hear_batches()  # so that the end of this one ends the run
            return logs

        self.unwatch: Callable[[], None] = lambda: None
        if step is not None:
            model.train_function = train_function

            def unwatch() -> None:
                if model.train_function is train_function:
                    model.train_function = step

            self.unwatch = unwatch

    def begin(self) -> None:
        """The run begins, and `fit` with the epoch that it goes on with."""
        self.run.begin(goes_on=self.goes_on)
        if self.run.resumed is not None:
            self.first_iteration = self.iteration = self.subject.iterations()
            epochs = self.run.planned_epochs or 0
            first = self.run.first_epoch(0, epochs)
            self.subject.model._initial_epoch = epochs if self.run.stopped else min(first, epochs)

    def begin_epoch(self, epoch: int) -> None:
        """The epoch begins, or goes on after the batches that are to be passed over."""
        self.calls, self.samples = 0, 0.0
        self.run.begin_epoch(epoch)
        self.batches = self.skip = self.run.to_skip

    def pass_over(self, *args: Any) -> Any:
        """Leave out a training step that was made before the run was interrupted; what Keras expects of one."""
        model, data = self.subject.model, args[-1]
        of_jax = len(args) > 1  # there a step is given the variables' values, and returns them
        if of_jax:
            model._jax_state = dict(zip(JAX_STATE, args[0], strict=True))
            model.jax_state_sync()
        steps = min(model.steps_per_execution, self.skip)
        given = [next(data) for _ in range(steps)] if hasattr(data, "__next__") else data  # JAX fetches in the step
        self.skip -= steps
        if not self.skip:
            self.subject.build(given[0])
            self.run.skipped()
        logs: Mapping[str, Any] = model.get_metrics_result()
        return (logs, model._get_jax_state(**dict.fromkeys(JAX_STATE, True))) if of_jax else logs

    def count(self, batch: int | None = None) -> int:
        """Take note of the batches trained on, the last one being `batch`, where batches are told.

        Returns the weight updates made since this was last asked.
        """
        done = self.calls * self.subject.model.steps_per_execution if batch is None else batch + 1
        done = min(done, self.run.planned_batches or sys.maxsize)  # the last of several steps in one need not be full
        done = max(done, self.batches)
        batches, self.batches = done - self.batches, done
        now = self.subject.iterations()
        if now is None or (now == self.first_iteration and not self.subject.skips_updates):
            return batches  # this train_step has optimizers of its own
        made, self.iteration = now - (self.iteration or 0), now
        return made

    def told(self, logs: Mapping[str, Any], samples: float) -> Mapping[str, Any] | None:
        """What to give the run of Keras's metrics of so many samples: nothing where other processes have others.

        They are then what this process has logged, in the place of what it had before.
        """
        if self.run.world_size == 1:
            return logs
        mine = Means()
        for name, value in logs.items():
            mine.add(name, value, samples or max(self.batches, 1), None if self.subject.same_on_all else "mean")
        self.run.means.bring_back({**self.run.means.sums(), **mine.sums()})
        return None

    def present_samples(self) -> float:
        """How many samples Keras's running metrics are those of, where that matters; else 0."""
        alike = self.run.world_size == 1 or self.subject.same_on_all
        return 0.0 if alike else self.subject.samples()

    def catch_up(self) -> None:
        """Tell the run of the batches that were not told one by one."""
        self.samples = self.samples or self.present_samples()  # a validation is about to count anew
        steps = self.count()
        if self.run.hears_batches:
            self.run.step += steps
        else:
            self.run.end_batch(max(self.batches - 1, 0), steps=steps)

    def lose(self) -> None:
        """Fit has gone without a word."""
        self.end(LoopError("fit() was left by an error or an interrupt that no callback was told of"))

    def end(self, error: BaseException | None = None) -> None:
        """End the run, if it is open still."""
        if self.open:
            self.open = False
            self.unwatch()
            self.subject.model._initial_epoch = None
            if self.events() is not None:
                self.net.detach()
            self.run.end(error)


def _ends_run(hook: F) -> F:
    """Let whatever the hook raises end the run before it goes on to `fit`, which would tell no callback."""

    @functools.wraps(hook)
    def guarded(self: KerasCallback, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except BaseException as error:
            self._end(error)
            raise

    return guarded  # type: ignore[return-value]


class KerasCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Lets one list of trainbus callbacks hear, and decide about, every `fit` that it is given to.

    ```python
    bus = KerasCallback([EarlyStopping(patience=3), ModelCheckpoint("best.keras", save_best_only=True)])
    model.fit(x, y, validation_data=(xv, yv), epochs=100, callbacks=[bus])
    print(bus.run.result)
    ```

    Each `fit` is a run of its own. `fit` draws its progress bar itself; decisions are printed as far as the callbacks'
    `verbose` asks for it. Where a callback steers learning rates, they go into Keras's logs too, as with Keras's own,
    so that `History` has them. Calls of `evaluate` and `predict` are not the run's business.

    An error in a callback or in a training step, and Ctrl-C in it, end the run at once. When the data or another Keras
    callback raises, `fit` tells nobody: the run then ends as soon as the error has been dealt with and its traceback
    let go, at the latest with the next `fit` or with Python.

    Args:
        callbacks: callbacks, as in `trainbus.Run`, or a single one.
        resume: as in `trainbus.Run`: a checkpoint, a directory or "auto". The first `fit` goes on from there: it begins
            with the epoch after, its optimizer as it was, and ends with the same last epoch.
        resume_strict: as in `trainbus.Run`.
        signals: as in `trainbus.Run`.
        validation_data: what TensorBoard shows the activations on, in the forms that `fit` takes; None for the
            validation data of `fit`.
        timeout: seconds that one of several processes waits for the others before it gives them up.
    """

    def __init__(
        self,
        callbacks: Any = (),
        *,
        validation_data: Any = None,
        timeout: float = 1800,
        resume: Source | None = None,
        resume_strict: bool = False,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        super().__init__()
        self.callbacks: list[Any] = as_list(callbacks)
        self._options = {"signals": signals, "validation_data": validation_data, "timeout": timeout}
        self._resume = {"resume": resume, "resume_strict": resume_strict}
        self._fit: _Fit | None = None

    @property
    def run(self) -> Run:
        """The run of the present `fit`, or of the last one.

        Raises:
            LoopError: there was none yet.
        """
        if self._fit is None:
            raise LoopError("no run yet: it begins in model.fit(..., callbacks=[this KerasCallback])")
        return self._fit.run

    @_ends_run
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A new run begins."""
        events = _events()
        if self._fit is not None and self._fit.open:
            outer = self._fit.events()
            if outer is not None and any(_uses(frame, outer) for frame in _frames()):
                raise LoopError("an outer fit() uses this KerasCallback already; make another one for the inner fit()")
            self._fit.lose()
        self._end()
        for other in list(_OPEN):  # of another KerasCallback, whose error somebody still holds, a notebook say
            if other.gone():
                other.lose()
        given, resume, self._resume = _locals_of_fit(events), self._resume, {}
        options = {**self._options, **resume}
        fit = _Fit(self.callbacks, self.model, self.params or {}, events, given, self._hear_batches, **options)
        self._fit = fit
        if fit.run.hears_batches:
            self._hear_batches()
        fit.begin()

    def _hear_batches(self) -> None:
        # Keras looks for overridden methods before a run can be made, so that a plugin's wish comes too late for it;
        # where nobody listens, nothing is overridden and no batch is slowed down
        events = None if self._fit is None else self._fit.events()
        if events is not None:
            events._async_train = False
            events._flush_futures()  # a batch that a thread tells still is none that anybody has asked for
        self.__dict__ |= {"on_train_batch_begin": self._begin_batch, "on_train_batch_end": self._end_batch}

    @_ends_run
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """The epoch, counted from 0, begins."""
        if (fit := self._fit) is not None and fit.open:
            fit.begin_epoch(epoch)

    @_ends_run
    def _begin_batch(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if (fit := self._fit) is not None and fit.open:
            fit.skipping = fit.skip > 0
            if not fit.skipping:
                fit.run.begin_batch(batch)

    @_ends_run
    def _end_batch(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if (fit := self._fit) is not None and fit.open and not fit.skipping:
            steps = fit.count(batch)
            fit.run.end_batch(fit.batches - 1, fit.told(logs or {}, fit.present_samples()), steps=steps)

    @_ends_run
    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A validation begins, if it is the one of this `fit`."""
        if (fit := self._fit) is not None and fit.open and _events() is fit.events():
            fit.catch_up()
            fit.run.begin_validation()

    @_ends_run
    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The validation is over, if it is the one of this `fit`."""
        if (fit := self._fit) is not None and fit.open and _events() is fit.events():
            validated = {f"val_{name}": value for name, value in (logs or {}).items()}
            fit.run.end_validation(fit.told(validated, fit.present_samples()))

    @_ends_run
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """The epoch is over; `logs` holds its metrics, those of a validation with `val_`."""
        if (fit := self._fit) is not None and fit.open:
            fit.catch_up()
            validated = {name for name in fit.run.means if name.startswith("val_")}  # of several processes, told before
            told = {name: value for name, value in (logs or {}).items() if name not in validated}
            if logs is not None and fit.steers_rates:
                logs.update(fit.subject.learning_rates())  # before they are changed, as Keras's own callback does
            fit.run.end_epoch(fit.told(told, fit.samples))
            if logs is not None and fit.run.world_size > 1:
                logs.update((name, fit.run.metrics[name]) for name in logs.keys() & fit.run.metrics.keys())

    @_ends_run
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The run is over; `fit` has finalized the weights."""
        if self._fit is not None:
            self._fit.subject.finalized = True
        self._end()

    def _end(self, error: BaseException | None = None) -> None:
        for name in ("on_train_batch_begin", "on_train_batch_end"):
            self.__dict__.pop(name, None)
        if self._fit is not None:
            self._fit.end(error)


def _frames(frame: FrameType | None = None) -> Iterator[FrameType]:
    """The calls that led to `frame`, or here, the innermost first."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _uses(frame: FrameType, events: Any) -> bool:
    """Whether this call tells `events`, Keras's list of callbacks."""
    return frame.f_locals.get("callbacks") is events


def _used(reference: Callable[[], Any]) -> bool:
    """Whether any thread is inside the `fit` that tells this list of callbacks."""
    events = reference()
    frames = (frame for innermost in sys._current_frames().values() for frame in _frames(innermost))
    return events is not None and any(_uses(frame, events) for frame in frames)


def _events() -> Any:
    """Keras's list of callbacks that tells the present event; None where there is none.

    It is one for each `fit`, which uses it for its validations too; any other `evaluate` has its own.
    """
    found = (frame.f_locals.get("self") for frame in _frames())
    return next((each for each in found if isinstance(each, keras.callbacks.CallbackList)), None)


def _locals_of_fit(events: Any) -> Mapping[str, Any]:
    """The local variables of the `fit` that uses `events`, from which alone a callback learns of its validations."""
    for frame in _frames():
        given = frame.f_locals
        if frame.f_code.co_name == "fit" and "validation_freq" in given and given.get("callbacks") is events:
            return given
    return {}


def _validation_freq(given: Mapping[str, Any]) -> int | Collection[int] | None:
    """Which epochs `fit` validates: none without validation data, None where it cannot be known."""
    if "validation_freq" not in given:
        return None
    return () if given["validation_data"] is None else given["validation_freq"]
