"""Capabilities that steer a training: learning rates, directions of metrics, generators and state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable


@runtime_checkable
class HasLearningRate(Protocol):
    """A subject with learning rates that can be read and changed while it trains."""

    def learning_rates(self) -> Mapping[str, float]:
        """Return name to present value: a single rate as "learning_rate", several as "learning_rate/<group>".

        Works also if ``refusal`` explains that they cannot be changed; empty if there are none.
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
class HasOptimizerOptions(Protocol):
    """A subject whose script gives options besides learning rates, which a resume may replace."""

    def optimizer_options(self) -> Mapping[str, Any]:
        """Return name to present value of the options that decide how the weights are updated, such as weight decay.

        Learning rates are not among them. Values that are not numbers, text, None or lists of these are ignored.
        """
        ...


@runtime_checkable
class TracksLearningRate(Protocol):
    """A subject that can detect when its learning rates are used, and knows the schedules that change them."""

    def hold_learning_rates(self) -> Mapping[str, float]:
        """Return the learning rates of the next weight update; each is final when its optimizer has made an update.

        Until then it is the present rate. What an earlier call has returned need not change any more.
        """
        ...

    def release_learning_rates(self) -> None:
        """Stop storing rates until the next call of ``hold_learning_rates``: the epoch or the run has ended."""
        ...

    def follow_schedules(
        self, epoch: int, rates: Mapping[str, float] | None = None
    ) -> Callable[[], Mapping[str, float] | None]:
        """Return a function that returns the rates that the schedules would have given without a change from now on.

        They are those of the update after which ``hold_learning_rates`` has its rates. None if that is unknown.

        Args:
            epoch: The present epoch or, before the first one, the one in which a run was interrupted.
            rates: The rates that the schedules would have given by now; None for the present ones.
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

    def draws_progress(self) -> bool:
        """Return whether it does so in this run, which then prints decisions only."""
        ...


@runtime_checkable
class HasDirections(Protocol):
    """A subject with metric objects, some of which declare their direction."""

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return the direction that the metric object declares; None if it declares none.

        Args:
            metric: The name under which the metric is logged.
        """
        ...


@runtime_checkable
class HasRandomState(Protocol):
    """A subject that draws from random generators other than the global ones of Python and NumPy."""

    def random_state(self) -> Mapping[str, Any]:
        """Return the state of these generators, as data that ``to_json_data`` takes."""
        ...

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Set the generators to a state that ``random_state`` returned."""
        ...


@runtime_checkable
class HasStateDict(Protocol):
    """A plugin with state that a resumed run needs."""

    def state_dict(self) -> Any:
        """Return the state as plain JSON data: numbers, text, truth values, None, lists and mappings of these.

        With it a resumed run decides as an uninterrupted one. Tensors and arrays are refused when the run begins.
        """
        ...

    def load_state_dict(self, state: Any) -> None:
        """Continue from what ``state_dict`` returned, with tuples as lists."""
        ...


@runtime_checkable
class HasRunState(Protocol):
    """A subject with state that its own files do not hold and a resumed run needs."""

    def run_state(self) -> Any:
        """Return the state, as data that ``to_json_data`` takes: plain JSON data, bytes and arrays."""
        ...

    def load_run_state(self, state: Any) -> None:
        """Continue from what ``run_state`` returned, with tuples as lists."""
        ...
