"""Drive the runs of a boosting library, whose model grows by one round after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from trainbus import LoopError, Run
from trainbus.binding import RunDriver, check_options, options_of_next
from trainbus.failures import LOG
from trainbus.settings.plugin_list import as_list

from .boosting_library import BoostingLibrary
from .boosting_metrics import BoostingMetrics


class BoostingRun:
    """The present run of a binding for a boosting library: each round is an epoch of one batch.

    Args:
        library: The library.
        callbacks: As in ``trainbus.Run``.
        data: As in ``BoostingMetrics``.
        metric: As in ``BoostingMetrics``.
        options: Further arguments of ``trainbus.Run``.
        subject: A subject without a model, with which the callbacks are checked.

    Raises:
        SettingsError: An option is wrong, or a callback cannot work with the library's models.
    """

    def __init__(
        self,
        library: BoostingLibrary,
        callbacks: Any,
        data: str | None,
        metric: str | None,
        options: Mapping[str, Any],
        subject: object,
    ) -> None:
        self.library, self.callbacks, self.options = library, as_list(callbacks), dict(options)
        self._data, self._metric = data, metric
        self.metrics = BoostingMetrics(data, metric)
        self.driver: RunDriver | None = None
        self._named = False
        self._training: Collection[str] = ()
        check_options(library.binding, options, ("callbacks", "data", "metric"))
        RunDriver(subject, self.callbacks, **self.options)  # what cannot work is refused before the training

    def __getstate__(self) -> dict[str, Any]:
        """Return the contents of a copy or a pickle: the settings."""
        return {**vars(self), "driver": None, "metrics": BoostingMetrics(self._data, self._metric), "_named": False}

    @property
    def run(self) -> Run:
        """The present run, or the last one.

        Raises:
            LoopError: None has begun.
        """
        if self.driver is None:
            raise LoopError(f"no run yet: it begins in {self.library.where}")
        return self.driver.run

    @property
    def open(self) -> bool:
        """Whether a run has begun and not ended."""
        return self.driver is not None and self.driver.run.state.phase == "open"

    @property
    def continues_state(self) -> bool:
        """Whether the run continues a state that was given, whose model the library has loaded."""
        return self.driver is not None and self.driver.run.resumed is not None and self._given

    @property
    def _given(self) -> bool:
        return isinstance(self.options.get("resume"), Mapping)

    def check_data(self, evaluated: Collection[str], training: Collection[str]) -> None:
        """Refuse a name of the validation data that is none of those that are evaluated.

        Raises:
            SettingsError: It is none of them.
        """
        if self._data is not None:
            BoostingMetrics(self._data, None).choose_data(evaluated, training)

    def begin(self, subject: object) -> RunDriver:
        """Begin a run, whose number of rounds is not known yet: ``plan`` follows."""
        if self.open:  # of a training that has ended with an error
            self._abandon()
        last = None if self.driver is None else self.driver.run
        options = options_of_next(self.options, last, "training with this callback", "make a new callback")
        self.metrics, self._named = BoostingMetrics(self._data, self._metric), False
        self.driver = RunDriver(subject, self.callbacks, reduce=None, **options)
        self.driver.begin(
            batches=1,
            validation_freq=1,
            advice=self.library.advice,
            loop_is_alive=lambda: bool(self.library.train_call()),
            plans_later=True,
            draws_again=False,  # a round that was trained before is not trained again
        )
        return self.driver

    def check_begin(self, begun: int) -> None:
        """Refuse a model that is not that of the state which the run continues.

        Args:
            begun: The rounds of the model with which the training begins.

        Raises:
            LoopError: It has fewer rounds than the state.
        """
        driver = self.driver
        if driver is not None and self.continues_state and begun < driver.epochs_done:
            error = LoopError(
                f"the state of resume= is that after {driver.epochs_done} rounds, but this training begins after "
                f"{begun}; give {self.library.module} the model of that moment by {self.library.model_argument}="
            )
            driver.end(error)
            raise error

    def report_sampling(self, options_that_draw: Callable[[], Sequence[str]]) -> None:
        """Log which options draw random numbers, if the run goes on from an earlier one: it draws others.

        Args:
            options_that_draw: Returns the options, with their values.
        """
        driver = self.driver
        if driver is None or driver.run.resumed is None or driver.stopped:
            return
        if options := options_that_draw():
            LOG.warning(
                "%s does not save the state of its random generators: with %s, the rounds after %d draw other rows, "
                "columns or trees than those of an unbroken training",
                self.library.name,
                ", ".join(options),
                driver.first_epoch,
            )

    def _abandon(self) -> None:
        if self.driver is not None:
            self.driver.abandon()

    def plan(self, rounds: int | None, training: Collection[str] = ()) -> None:
        """Set the number of rounds that the library was asked for, and the names of data sets of the training data."""
        self._training = training
        if self.driver is not None:
            more = self.driver.epochs_done if self.continues_state else 0
            self.driver.plan(None if rounds is None else rounds + more)

    def begin_round(self) -> bool:
        """Begin the next round; return whether to train it."""
        driver = self.driver
        if driver is None or not self.open or driver.stopped or self._is_done(driver):
            return False
        driver.begin_epoch()
        if driver.batches_to_skip:  # it was trained and evaluated before the run was interrupted
            driver.begin_batch()
            state = driver.run.state
            if not state.validated:
                measured = dict(state.means)
                self._validate(driver, {name: measured[name] for name in measured if name.startswith("val_")})
            driver.end_epoch()
            if driver.stopped or self._is_done(driver):
                return False
            driver.begin_epoch()
        return driver.begin_batch() and not driver.stopped

    def end_round(self, values: Mapping[str, Mapping[str, float]]) -> None:
        """End the round.

        Args:
            values: Name of each data set to its metrics.
        """
        driver = self.driver
        if driver is None or not self.open:
            return
        try:
            if not self._named:
                self.metrics.choose(values, self._training)
                self._named = True
            named = self.metrics.named(values)
        except BaseException as error:
            driver.end(error)
            raise
        driver.end_batch(named)
        self._validate(driver, {name: value for name, value in named.items() if name.startswith("val_")})
        driver.end_epoch()

    def _validate(self, driver: RunDriver, measured: Mapping[str, float]) -> None:
        if measured:
            driver.begin_validation()
            driver.end_validation(measured)

    @property
    def is_over(self) -> bool:
        """Whether no further round is trained."""
        return self.driver is None or self.driver.stopped or self._is_done(self.driver)

    @staticmethod
    def _is_done(driver: RunDriver) -> bool:
        """Return whether the last planned round has ended."""
        state = driver.run.state
        return not driver.run.resumer.mid_epoch and state.plan.is_done(state.epochs_finished, state.step)

    def end(self) -> None:
        """End the run; note it as stopped if the library has ended the loop before the last planned round."""
        driver = self.driver
        if driver is None or not self.open:
            return
        if not (driver.run.state.epoch_open or driver.stopped or self._is_done(driver)):
            driver.run.stop(f"another callback of {self.library.module} has ended the training")
        driver.end()
