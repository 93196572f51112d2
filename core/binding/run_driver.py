"""Drive a run from the events of a framework that owns its loop."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

from ..engine.plan import EpochPlan
from ..errors import LoopError
from ..metrics.missing_metric import MetricAdvice
from ..metrics.names import is_validated
from ..metrics.reductions import Reduce
from ..run import Run
from ..settings.arguments import checked
from ..settings.plugin_list import CallbackLike
from .metric_prefixes import renamed_metrics
from .options import RunOptions
from .process_exit import call_at_exit


class RunDriver:
    """Drives a run from the events of a framework that owns its loop; a binding holds one for each training.

    A binding calls its methods when the framework calls the binding. The driver keeps their order: it continues a
    resumed run where it was interrupted, ends an epoch that is still open, and ends the run, once, if one of its
    methods raises an error. After the end of the run its methods have no effect, but a framework that trains on is
    refused.

    Args:
        subject: What is trained, as its adapter presents it; None if only numbers are known.
        callbacks: As in ``trainbus.Run``.
        prefixes: How names of metrics begin in the framework, to how they begin in trainbus.
        reduce: How the values of several ranks are reduced; None if the framework gives all ranks the same.
        options: Further arguments of ``trainbus.Run``.

    Raises:
        SettingsError: An option is wrong or cannot work with this subject.

    >>> from trainbus.plugins import EarlyStopping
    >>> driver = RunDriver(None, EarlyStopping(patience=1), prefixes={"eval_": "val_"})
    >>> driver.begin(epochs=10)
    >>> for epoch in range(driver.first_epoch, 10):
    ...     driver.begin_epoch(epoch)
    ...     driver.begin_validation()
    ...     driver.end_validation({"eval_loss": 1.0})
    ...     driver.end_epoch()
    ...     if driver.stopped:
    ...         break
    >>> driver.end()
    False
    >>> driver.run.history, driver.run.result.reason
    ({'val_loss': [1.0, 1.0]}, 'val_loss 1 did not improve on 1 (epoch 1) for the 1st time')
    """

    @checked("RunDriver")
    def __init__(
        self,
        subject: object = None,
        callbacks: CallbackLike | Sequence[CallbackLike] = (),
        *,
        prefixes: Mapping[str, str] | None = None,
        reduce: Reduce = "mean",
        **options: Unpack[RunOptions],
    ) -> None:
        self.run = Run(subject, callbacks, **options)
        """The run."""
        self.first_epoch = 0
        """The epoch to begin with, counted from 0; known once the run has begun."""
        self.batches_to_skip = 0
        """Batches of the current epoch that were trained on before the run was interrupted, and are not reported yet.

        The framework skips them and begins the epoch with a later batch, or ``begin_batch`` returns False for them.
        """
        self._prefixes = dict(prefixes or {})
        self._reduce: Reduce = reduce
        self._epoch = -1
        self._batch = 0
        self._open = False  # whether the run has begun and not ended
        self._left_out = False  # whether the present batch was trained on before
        self._obeys_stop = True
        self._is_over = False  # whether the framework was told to stop, and must not train on
        self._leave: Callable[[], None] | None = None

    @property
    def stopped(self) -> bool:
        """Whether the framework is to stop: a decision has stopped the training, or the run is over."""
        state = self.run.state
        # an epoch in which a killed run had stopped is ended first
        return state.phase == "ended" or state.stays_over or (self.run.stopped and not self.run.resumer.mid_epoch)

    @property
    def in_batch(self) -> bool:
        """Whether a batch has begun and not ended: ``run.state_dict()`` is refused then."""
        return self.run.state.epoch_open and self.run.state.counters.in_batch

    def begin(
        self,
        epochs: int | None = None,
        *,
        batches: int | None = None,
        validation_freq: int | Collection[int] | None = None,
        advice: MetricAdvice | None = None,
        loop_is_alive: Callable[[], bool] = lambda: True,
        plans_later: bool = False,
        draws_again: bool = True,
        obeys_stop: bool = True,
    ) -> None:
        """Begin the run, from a checkpoint or a state if it is resumed.

        If the process exits although ``end`` was not called, the run ends with an error.

        Args:
            epochs: Number of the last epoch, counted from 1; None if unknown.
            batches: Batches of an epoch; None if unknown.
            validation_freq: Which epochs have a validation: every n-th, or a collection of epochs, counted from 1;
                None if unknown.
            advice: What the user writes to have a metric logged, for the message about a missing one.
            loop_is_alive: As in ``trainbus.Run.begin``.
            plans_later: Whether ``plan`` is called before the first epoch, since the framework does not say yet how
                many epochs it trains, or says only how many more.
            draws_again: Whether the framework draws the batches of an interrupted epoch again, so that the states in
                which the random generators begin each epoch are kept.
            obeys_stop: Whether the framework ends the training where the run has stopped. If not, the run is told of
                the epochs that it trains on, for example up to a least number of epochs.

        Raises:
            SettingsError: A plugin refuses its options.
            CheckpointError: Another run writes into the same directory.
        """
        state = self.run.state
        state.plan, state.planned_batches, state.validation_freq = EpochPlan(epochs), batches, validation_freq
        state.draws_again, self._obeys_stop = draws_again, obeys_stop
        if advice is not None:
            state.metric_advice = advice
        self.run.begin(loop_is_alive, keeps_state=True)
        self._open = True
        self._leave = call_at_exit(self.abandon)
        if not plans_later:
            self.plan(epochs)

    @property
    def epochs_done(self) -> int:
        """The epochs that the resumed run had ended when it was saved; 0 without a resume."""
        return self.run.resumer.saved.position.epochs

    def plan(self, epochs: int | None) -> None:
        """Set the number of epochs after ``begin(plans_later=True)``; then ``first_epoch`` and ``stopped`` are known.

        Args:
            epochs: Number of the last epoch, counted from 1, with those of the resumed run; None if unknown.
        """
        if not self._open:
            return
        with self._ending():
            self.run.state.plan = EpochPlan(epochs)
            self.first_epoch = self.run.resumer.first_epoch()
            self._epoch = self.first_epoch - 1
            self._note_stop()

    def _note_stop(self) -> None:
        self._is_over = self._obeys_stop and self.stopped

    def _check_stop(self, what: str) -> None:
        """Refuse to train on after an event that has stopped the training."""
        if self._is_over:
            self._is_over = False
            why = "its end" if self.run.state.phase == "ended" else f"it has stopped ({self.run.state.reason})"
            raise LoopError(
                f"the framework tells the run of {what} after {why}: after each event, the binding hands "
                "driver.stopped on to the framework"
            )

    def begin_epoch(self, epoch: int | None = None, *, batch: int = 0) -> None:
        """Begin an epoch; end the one that is still open.

        Args:
            epoch: Its number, counted from 0; None for the next one.
            batch: The first batch of the epoch that the framework reports; it has skipped those before it.

        Raises:
            LoopError: The framework begins elsewhere than where the resumed run was interrupted, or the last event has
                stopped the training, or the run has ended in order.
        """
        with self._ending():
            self._check_stop("another epoch")
            if not self._open:
                return
            epoch = self._epoch + 1 if epoch is None else epoch
            if self.run.state.epoch_open:
                self.end_epoch()
            if self._epoch < self.first_epoch and self.run.resumed is not None:
                self._continue(epoch, batch)
            self._enter(epoch)
            if batch:
                self._skip(batch)

    def _continue(self, epoch: int, batch: int) -> None:
        """Compare where the framework continues with where the run was interrupted."""
        saved, mid_epoch = self.run.resumer.saved.position, self.run.resumer.mid_epoch
        batches = saved.batches if mid_epoch else 0
        planned = self.run.state.planned_batches
        if mid_epoch and (epoch, batch) == (self.first_epoch + 1, 0) and batches >= (planned or 0):  # it had ended that
            self._enter(self.first_epoch)
            self.end_epoch()
        elif epoch < self.first_epoch or (epoch, batch) > (self.first_epoch, batches):
            raise LoopError(
                f"the framework continues with epoch {epoch + 1} after {batch} of its batches, but the resumed run "
                f"was interrupted in epoch {self.first_epoch + 1} after {batches}; resume both from the same save"
            )

    def _enter(self, epoch: int) -> None:
        self._epoch, self._batch = epoch, 0
        self.run.begin_epoch(epoch)
        self.batches_to_skip = self.run.resumer.batches_to_skip

    def _skip(self, batches: int) -> None:
        self._batch += batches
        if self.batches_to_skip:
            self.batches_to_skip -= batches
            if self.batches_to_skip <= 0:
                self.batches_to_skip = 0
                self.run.resumer.batches_skipped()

    def begin_batch(self) -> bool:
        """Begin the next batch.

        Returns:
            Whether to train on it: a resumed run has done so already with the first ``batches_to_skip``, and no batch
            follows a stop.
        """
        if not self._open:
            return not self._is_over
        self._left_out = self.batches_to_skip > 0
        if self._left_out:
            self._skip(1)
            return False
        if self.run.stopped and self.run.state.decided_to_stop:  # a killed run had stopped here
            return False
        try:
            self.run.begin_batch(self._batch)
        except BaseException as error:
            if not self.end(error):
                raise
        return True

    def end_batch(self, metrics: Mapping[str, Any] | None = None, steps: int = 1) -> None:
        """End a batch that was trained on.

        Args:
            metrics: Values of the batch by name; each is part of its mean over the epoch.
            steps: The number of weight updates in the batch.

        Raises:
            LoopError: ``begin_batch`` has returned False since the batch was trained on before the run was interrupted,
                or an earlier event has stopped the training.
        """
        try:
            if self._is_over:
                self._check_stop("another batch")
            if not self._open:
                return
            if self._left_out:
                raise LoopError(
                    "the framework has trained again on a batch that it had trained on before the run was interrupted: "
                    "the binding lets it leave out batches for which driver.begin_batch() returns False"
                )
            if metrics:
                self.run.log(renamed_metrics(metrics, self._prefixes), reduce=self._reduce)
            self._batch += 1
            self.run.end_batch(self._batch - 1, steps=steps)
            if self.run.stopped:
                self._note_stop()
        except BaseException as error:
            if not self.end(error):
                raise

    def begin_validation(self) -> None:
        """Begin a validation: of several in an epoch, the last counts."""
        if self._open and self.run.state.epoch_open:
            with self._ending():
                self.run.begin_validation()

    def end_validation(self, metrics: Mapping[str, Any]) -> None:
        """End a validation.

        Args:
            metrics: Its results by name. They are metrics of the epoch, whatever their names.
        """
        if self._open and self.run.state.epoch_open:
            with self._ending():
                renamed = renamed_metrics(metrics, self._prefixes)
                self._replace(renamed)
                self.run.end_validation(renamed)
                self._note_stop()

    def end_epoch(self, metrics: Mapping[str, Any] | None = None) -> None:
        """End the epoch, unless none is open.

        Args:
            metrics: Its metrics by name; they replace the means of what was logged under these names.
        """
        if self._open and self.run.state.epoch_open:
            with self._ending():
                if self.batches_to_skip:  # the framework has skipped the rest of the epoch
                    self._skip(self.batches_to_skip)
                renamed = renamed_metrics(metrics or {}, self._prefixes)
                if any(map(is_validated, renamed)):  # some frameworks tell of a validation only at the end of the epoch
                    self.run.state.validated = True
                self._replace(renamed)
                self.run.end_epoch()
                self._note_stop()

    def end(self, error: BaseException | None = None) -> bool:
        """End the run; a second call has no effect.

        Args:
            error: The error that has ended the loop; None if it ended in order.

        Returns:
            Whether ``error`` need not be raised, as ``trainbus.Run.end`` returns.
        """
        if not self._open:
            return False
        self._open, self._is_over = False, error is None
        if self._leave is not None:
            atexit.unregister(self._leave)
        return self.run.end(error)

    def abandon(self) -> None:
        """End the run of a loop that has ended with an error of which the framework does not say anything."""
        self.end(LoopError("the loop ended with an error or an interrupt of which its framework has told no callback"))

    @contextmanager
    def _ending(self) -> Generator[None]:
        """End the run if the block raises an error."""
        try:
            yield
        except BaseException as error:
            if not self.end(error):
                raise

    def _replace(self, metrics: Mapping[str, Any]) -> None:
        for name, value in metrics.items():
            self.run.state.means.replace(name, value, self._reduce)
