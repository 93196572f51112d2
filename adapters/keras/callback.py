"""Keras 3, on any backend: a Keras callback that turns every ``fit`` into a run."""

# Keras declares no types and has no public way to learn which fit runs a callback
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from trainbus import LoopError, Run
from trainbus.callback import Verbose
from trainbus.engine.stopping.signals import DEFAULT
from trainbus.failures import LOG
from trainbus.resume.script.rates import RateSource
from trainbus.settings.arguments import checked
from trainbus.settings.plugin_list import as_list
from trainbus.storage.paths import AUTO, Source

from ..shared.call_stack import frames, innermost_self
from ..shared.clones import check_resume
from .call_stack import uses
from .fit_session import OPEN_FITS, FitSession
from .subject import KerasSubject

import keras  # isort: skip # after the import that names the missing package

__all__ = ["KerasCallback", "KerasSubject"]


def _during_fit(hook: Callable[..., None]) -> Callable[..., None]:
    """Pass the open ``FitSession`` to a hook, and call the hook only while one is open.

    An error of the hook ends the run before it reaches ``fit``, which would notify no callback. If the error is that of
    a signal and the user's own handler has handled the signal, ``fit`` ends as if a callback had stopped it.
    """

    @functools.wraps(hook)
    def guarded(self: KerasCallback, *args: Any, **kwargs: Any) -> None:
        if self._fit is not None and self._fit.open:
            try:
                hook(self, self._fit, *args, **kwargs)
            except BaseException as error:
                if not self._end(error):
                    raise
                cast("Any", self.model).stop_training = True

    return guarded


BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end")
"""Hooks that an instance overrides while a plugin listens to batches."""


class KerasCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """A Keras callback that runs a list of trainbus callbacks in every ``fit`` that it is passed to.

    ::

        bus = KerasCallback([EarlyStopping(patience=3), ModelCheckpoint("best.keras", save_best_only=True)])
        model.fit(x, y, validation_data=(xv, yv), epochs=100, callbacks=[bus])
        print(bus.run.result)

    Each ``fit`` is a separate run. ``fit`` draws its own progress bar, so ``verbose`` prints decisions only. If a
    callback changes learning rates, they are added to Keras's logs, as Keras's own callback does, so that ``History``
    has them. ``evaluate`` and ``predict`` do not affect the run.

    An error or a Ctrl-C in a callback or a training step ends the run at once. If the data or another Keras callback
    raises, ``fit`` notifies no callback. The run then ends when the error's traceback is released, at the latest at the
    next ``fit`` or when Python exits.

    Args:
        callbacks: Callbacks, as in ``trainbus.Run``, or a single one.
        verbose: Which decisions to print: none (0), those of the callbacks whose ``verbose`` is not 0 (None), or all
            (any other value that a callback's ``verbose`` may have).
        resume: As in ``trainbus.Run``: a checkpoint, a directory or "auto". The first ``fit`` continues from there: it
            begins with the following epoch, restores the optimizer's state, and ends with the same last epoch. A later
            ``fit`` is a new run, which one line in the log says. But with "auto", a ``fit`` that was broken off by an
            error or an interrupt is continued by the next one of the same model, as with Keras's BackupAndRestore.
        resume_strict: As in ``trainbus.Run``.
        resume_learning_rates: As in ``trainbus.Run``.
        start: As in ``trainbus.Run``, for the first ``fit``, which begins with that epoch; ``initial_epoch`` of ``fit``
            need not be given.
        hparams: As in ``trainbus.Run``.
        run_id: As in ``trainbus.Run``; the same for every ``fit``.
        signals: As in ``trainbus.Run``.
        validation_data: Data for TensorBoard's activations, in the forms that ``fit`` takes; by default the validation
            data of ``fit``.
        timeout: Seconds that one of several processes waits for the others before it raises an error.
    """

    @checked("KerasCallback", "give several callbacks as one list: KerasCallback([...])")
    def __init__(
        self,
        callbacks: Any = (),
        *,
        validation_data: Any = None,
        timeout: float = 1800,
        verbose: Verbose | None = None,
        resume: Source | None = None,
        resume_strict: bool = False,
        resume_learning_rates: RateSource = "checkpoint",
        start: Mapping[str, Any] | None = None,
        hparams: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        super().__init__()
        self.callbacks: list[Any] = as_list(callbacks)
        self._options = {"verbose": verbose, "signals": signals, "validation_data": validation_data, "timeout": timeout}
        self._options |= {"hparams": hparams, "run_id": run_id}
        self._start = start
        self._resume = {
            "resume": resume,
            "resume_strict": resume_strict,
            "resume_learning_rates": resume_learning_rates,
        }
        self._has_fitted = False
        """Whether a ``fit`` has begun, so that ``resume`` was used."""
        self._fit: FitSession | None = None
        self._earlier_run: Run | None = None
        """The last run of the callback that this one is a copy of."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the contents of a pickle or a copy: the settings, and the data of the last run without its model."""
        own = {name: value for name, value in vars(self).items() if name not in BATCH_HOOKS}
        last = self._earlier_run if self._fit is None else self._fit.run
        return {**own, "_fit": None, "_earlier_run": last, "_model": None}

    @property
    def run(self) -> Run:
        """The run of the current ``fit``, or of the last one.

        Raises:
            LoopError: No ``fit`` has begun yet.
        """
        if self._fit is None and self._earlier_run is not None:
            return self._earlier_run
        if self._fit is None:
            raise LoopError("no run yet: it begins in model.fit(..., callbacks=[this KerasCallback])")
        return self._fit.run

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a new run."""
        try:
            self._begin_fit()
        except BaseException as error:
            self._end(error)
            raise

    def _begin_fit(self) -> None:
        callback_list = _callback_list()
        if self._fit is not None and self._fit.open:
            outer = self._fit.callback_list()
            if outer is not None and any(uses(frame, outer) for frame in frames()):
                raise LoopError("an outer fit() uses this KerasCallback already; make another one for the inner fit()")
            self._fit.abandon()
        self._end()
        for other in list(OPEN_FITS):  # of another KerasCallback whose error is still referenced, such as by a notebook
            if other.has_exited():
                other.abandon()
        check_resume("KerasCallback", self._resume["resume"])
        resumes = self._resumes()
        start = None if self._has_fitted else self._start
        options = {**self._options, "start": start, **(self._resume if resumes else {})}
        fit = FitSession(
            self.callbacks, self.model, self.params or {}, callback_list, self._enable_batch_hooks, **options
        )
        self._fit = fit
        if not resumes and fit.run.rank == 0:
            LOG.warning(
                "resume=%r was used in the first fit() of this KerasCallback: this fit() begins with epoch 1 and the "
                "present weights; to continue the earlier run, make a new KerasCallback(resume='auto')",
                self._resume["resume"],
            )
        if fit.run.has_batch_listeners:
            self._enable_batch_hooks()
        fit.begin()
        self._has_fitted = True

    def _resumes(self) -> bool:
        """Return whether this ``fit`` uses ``resume``: the first one, or the next after one that was interrupted."""
        source = self._resume["resume"]
        if source is None or not self._has_fitted:
            return True
        if source != AUTO or self._fit is None or self._fit.subject.model is not self.model:
            return False
        return self._fit.run.error is not None or self._fit.run.state.interrupted

    def _enable_batch_hooks(self) -> None:
        # Keras looks for overridden methods before a run exists, and so before plugins can ask for batches;
        # without a listener nothing is overridden and no batch is slowed down
        callback_list = None if self._fit is None else self._fit.callback_list()
        if callback_list is not None:
            callback_list._async_train = False
            callback_list._flush_futures()  # batches that a thread still reports are from before a plugin listened
        self.__dict__ |= {"on_train_batch_begin": self._begin_batch, "on_train_batch_end": self._end_batch}

    @_during_fit
    def on_epoch_begin(self, fit: FitSession, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch; epochs count from 0."""
        fit.begin_epoch(epoch)

    @_during_fit
    def _begin_batch(self, fit: FitSession, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        fit.skipping = fit.skip > 0
        if not fit.skipping:
            fit.run.begin_batch(batch)

    @_during_fit
    def _end_batch(self, fit: FitSession, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not fit.skipping:
            steps = fit.count_updates(batch)
            metrics = fit.to_run_metrics(logs or {}, fit.metric_samples())
            fit.run.end_batch(fit.batches - 1, metrics, steps=steps)

    @_during_fit
    def on_test_begin(self, fit: FitSession, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a validation if this ``fit`` runs it."""
        if _callback_list() is fit.callback_list():
            fit.report_unreported_batches()
            fit.run.begin_validation()

    @_during_fit
    def on_test_end(self, fit: FitSession, logs: Mapping[str, Any] | None = None) -> None:
        """End the validation if this ``fit`` runs it."""
        if _callback_list() is fit.callback_list():
            validated = {f"val_{name}": value for name, value in (logs or {}).items()}
            fit.run.end_validation(fit.to_run_metrics(validated, fit.metric_samples()))

    @_during_fit
    def on_epoch_end(self, fit: FitSession, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """End the epoch; ``logs`` holds its metrics, a validation's with the prefix "val_"."""
        logs = {} if logs is None else logs
        fit.report_unreported_batches()
        reported = fit.run.state.means  # on_test_end has reported those of the validation
        trained = {name: value for name, value in logs.items() if not (name.startswith("val_") and name in reported)}
        fit.check_optimizer()
        rates = dict(fit.run.state.learning_rates)
        if fit.changes_rates:
            logs.update(rates)
        # other Keras callbacks log the rates of the epoch's end
        trained = {name: value for name, value in trained.items() if name not in rates}
        fit.run.end_epoch(fit.to_run_metrics(trained, fit.samples))
        if fit.run.world_size > 1:
            logs.update((name, fit.run.metrics[name]) for name in logs.keys() & fit.run.metrics.keys())

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End the run; ``fit`` has finalized the weights."""
        if self._fit is not None:
            self._fit.subject.finalized = True
        self._end()

    def _end(self, error: BaseException | None = None) -> bool:
        for name in BATCH_HOOKS:
            self.__dict__.pop(name, None)
        return self._fit is not None and self._fit.end(error)


def _callback_list() -> Any:
    """Return Keras's list of callbacks that runs the current hook; None without one.

    Each ``fit`` has one, which its validations use too; any other ``evaluate`` has another.
    """
    return innermost_self(keras.callbacks.CallbackList)
