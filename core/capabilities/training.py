"""Capabilities that control the training: learning rates, metric directions, random generators and state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable


@runtime_checkable
class HasLearningRate(Protocol):
    """A subject with learning rates that can be read and changed while it trains."""

    def learning_rates(self) -> Mapping[str, float]:
        """Return name to current value: a single rate as "learning_rate", several as "learning_rate/<group>".

        This must also work if ``refusal`` says that the rates cannot be changed. It is empty if there are no rates.
        """
        ...

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set the named rates; leave the others unchanged.

        Args:
            rates: Name to new value; the names are those of ``learning_rates``.

        Raises:
            SettingsError: The change would have no effect.
        """
        ...


@runtime_checkable
class CountsSamples(Protocol):
    """A subject whose adapter knows how many samples were trained."""

    def samples(self) -> float:
        """Return a count of the samples that grows with each batch of training; it may begin anew with each epoch."""
        ...


@runtime_checkable
class RoundsLearningRates(Protocol):
    """A subject whose optimizer stores learning rates with less precision than a Python float."""

    def rounded_learning_rates(self, rates: Mapping[str, float]) -> Mapping[str, float]:
        """Return the rates with which the optimizer computes if it is given these.

        Args:
            rates: Name to rate; the names are those of ``learning_rates``.
        """
        ...


@runtime_checkable
class HasOptimizerOptions(Protocol):
    """A subject whose script gives options besides learning rates, which a resume may replace."""

    def optimizer_options(self) -> Mapping[str, Any]:
        """Return name to current value of the options of the weight updates, such as weight decay.

        Learning rates are not included. Values other than numbers, text, None and lists of these are ignored.
        """
        ...


@runtime_checkable
class ChecksTraining(Protocol):
    """A subject that can notice that a loop does not train what it holds."""

    def check_training(self) -> None:
        """Check, at the end of the first epoch with batches, that the subject has changed.

        It is not called in a run that continues one that has trained.

        Raises:
            LoopError: The loop trains something else.
        """
        ...


@runtime_checkable
class TracksLearningRate(Protocol):
    """A subject that can detect when its learning rates are used, and knows the schedules that change them."""

    def hold_learning_rates(self) -> Mapping[str, float]:
        """Return the learning rates of the next weight update, in a mapping that changes until that update.

        Each rate is the current one until its optimizer has made an update; then it is final. After a further call,
        mappings from earlier calls need not change any more.
        """
        ...

    def release_learning_rates(self) -> None:
        """Stop storing rates until the next call of ``hold_learning_rates``, since the epoch or the run has ended."""
        ...

    def follow_schedules(
        self, epoch: int, rates: Mapping[str, float] | None = None
    ) -> Callable[[], Mapping[str, float] | None]:
        """Return a function that returns the rates that the schedules alone would set, ignoring later changes.

        The function returns the rates for the same update as ``hold_learning_rates``; None if they are unknown.

        Args:
            epoch: The current epoch; before the first epoch, the epoch in which the resumed run was interrupted.
            rates: The rates that the schedules alone would have set by now; None for the current rates.
        """
        ...

    def what_changes(self, name: str) -> str:
        """Describe what else may have changed a rate, and how to fix it.

        Args:
            name: The name of the rate.
        """
        ...


@runtime_checkable
class DrawsProgress(Protocol):
    """A subject whose framework may show the progress of the training itself."""

    def draws_progress(self) -> bool | Literal["lines"]:
        """Return whether the framework shows progress in this run, which then prints only decisions.

        True stands for a bar, whose line in the terminal is open between two batches; "lines" for complete lines.
        """
        ...


@runtime_checkable
class ReportsMeans(Protocol):
    """A subject whose loop may report only the means of the epoch when a batch ends."""

    def reports_means(self) -> bool:
        """Return whether no batch has a value of its own in this run."""
        ...


@runtime_checkable
class HasDirections(Protocol):
    """A subject with metric objects, some of which declare their direction."""

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return the direction that the metric object declares; None if it does not declare one.

        Args:
            metric: The name under which the metric is logged.
        """
        ...


@runtime_checkable
class HasRandomState(Protocol):
    """A subject that draws from random generators other than the global ones of Python and NumPy."""

    def random_state(self) -> Mapping[str, Any]:
        """Return the state of these generators, as data that ``to_json_data`` accepts."""
        ...

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Set the generators to a state that ``random_state`` returned."""
        ...


@runtime_checkable
class HasStateDict(Protocol):
    """A plugin with state that a resumed run needs."""

    def state_dict(self) -> Any:
        """Return the state as plain JSON data: numbers, text, truth values, None, lists and mappings of these.

        With this state, a resumed run decides like an uninterrupted one. A run that begins refuses tensors and arrays.
        """
        ...

    def load_state_dict(self, state: Any) -> None:
        """Continue from a result of ``state_dict``, in which tuples have become lists."""
        ...


@runtime_checkable
class ChecksState(Protocol):
    """A plugin that can say whether a saved state is one of its own, before a run begins to resume from it.

    A manifest may hold anything. If the state is refused here, ``resume="auto"`` continues from an older checkpoint.
    """

    def check_state_dict(self, state: Any) -> None:
        """Check what ``load_state_dict`` would get, and change nothing; called before ``on_train_begin``.

        Raises:
            ValueError: It is not a result of ``state_dict``.
        """
        ...


@runtime_checkable
class HasRunState(Protocol):
    """A subject with state that its own files do not hold and a resumed run needs."""

    def run_state(self) -> Any:
        """Return the state, as data that ``to_json_data`` accepts: plain JSON data, bytes and arrays."""
        ...

    def load_run_state(self, state: Any) -> None:
        """Continue from a result of ``run_state``, in which tuples have become lists."""
        ...
