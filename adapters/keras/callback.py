"""Keras 3, on any backend: a Keras callback that makes a run of every `fit`."""

# Keras declares no types, and tells nobody but its own classes of calls between layers and of what fit was given
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from trainbus import LoopError, Run
from trainbus.engine.plugin_list import as_list
from trainbus.engine.signals import DEFAULT
from trainbus.storage.paths import Source

from .call_stack import frames, innermost, locals_of_fit, uses
from .fit_session import OPEN, Fit
from .subject import KerasSubject

import keras  # isort: skip # after the import that says what to install where there is none

__all__ = ["KerasCallback", "KerasSubject"]

F = TypeVar("F", bound=Callable[..., Any])


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
        self._fit: Fit | None = None

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
            if outer is not None and any(uses(frame, outer) for frame in frames()):
                raise LoopError("an outer fit() uses this KerasCallback already; make another one for the inner fit()")
            self._fit.lose()
        self._end()
        for other in list(OPEN):  # of another KerasCallback, whose error somebody still holds, a notebook say
            if other.gone():
                other.lose()
        given, resume, self._resume = locals_of_fit(events), self._resume, {}
        options = {**self._options, **resume}
        fit = Fit(self.callbacks, self.model, self.params or {}, events, given, self._hear_batches, **options)
        self._fit = fit
        if fit.run.has_batch_listeners:
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
            validated = {
                name for name in fit.run.state.means if name.startswith("val_")
            }  # of several processes, told before
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


def _events() -> Any:
    """Keras's list of callbacks that tells the present event; None where there is none.

    It is one for each `fit`, which uses it for its validations too; any other `evaluate` has its own.
    """
    return innermost(keras.callbacks.CallbackList)
