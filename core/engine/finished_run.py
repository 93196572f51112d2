"""How the run that is resumed had ended: a run that is over stays over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ParamSpec, Protocol, TypeVar

from ..decision import Stop
from ..errors import SettingsError
from ..resume.end_record import EndRecord, EndRecords, find_end
from ..storage.paths import AUTO, Source, location
from .run_state import RunState

T = TypeVar("T")
P = ParamSpec("P")


class StepBinder(Protocol):
    """Returns the function to call for a step of the run with this name: ``Group.bind``."""

    def __call__(self, name: str, step: Callable[P, T], /) -> Callable[P, T]:
        """Return the function to call for the step."""
        ...


class FinishedRun:
    """The record of the run's end, if its directories have one.

    Args:
        ends: The records in the directories of the run.
        valid_stops: Returns the stops of a record that are valid under the present settings.
        catch_up: Called with the metrics and the number of each epoch that the run had after its checkpoint.
        bind: Binds the steps that ranks share.
    """

    def __init__(
        self,
        ends: EndRecords,
        valid_stops: Callable[[EndRecord], list[Stop]],
        catch_up: Callable[[Mapping[str, Any], int], object],
        bind: StepBinder,
    ) -> None:
        self._ends, self._valid_stops, self._catch_up = ends, valid_stops, catch_up
        self._find = bind("find_end", find_end)
        self.record: EndRecord | None = None
        """The record; None if the run was not finished."""

    def find(self, source: Source, run: str | None, state: RunState) -> None:
        """Find the record of a run's end, and add its stops to those of the checkpoint.

        Args:
            source: The directory to resume from, or "auto".
            run: The run whose checkpoint was found; None for a run without checkpoints.
            state: The data of the run that continues, from its checkpoint.
        """
        directories = self._ends.directories if source == AUTO else [location(source)]
        end = self._find(directories, run)
        if end is not None and end.step >= state.step:
            self.record = end
            state.continue_run(run or end.run)
            state.stop_actions += [each for each in self._valid_stops(end) if each not in state.stop_actions]

    def restore(self, state: RunState) -> None:
        """Restore the data of the epochs after the checkpoint, which are not trained again."""
        end = self.record
        if end is not None and end.epochs > state.epochs_finished:
            history, before = end.recorded_epochs(), state.epochs_finished
            state.restore_end(end.epochs, end.step, history, end.recorded_decisions())
            for epoch, metrics in history:
                if epoch >= before:
                    with suppress(SettingsError):  # a new callback may monitor what that run did not log
                        self._catch_up(metrics, epoch)
