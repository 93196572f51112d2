"""The order in which a run executes actions, and which of them are exact."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import Final, get_args

from ..records import Action, Recording, SimulatedAction

_ORDER: Final = get_args(Action)


def sort_actions(
    actions: Sequence[SimulatedAction], stop: int, recording: Recording, unsure: Collection[str] = ()
) -> tuple[SimulatedAction, ...]:
    """Return the actions up to the stop in the order of execution; those after an unrecorded cut are not exact.

    Args:
        actions: The actions.
        stop: The epoch of the stop.
        recording: The run. If it has gone on in this epoch, with further validations, what follows there is not exact.
        unsure: The callbacks of which no action is exact.
    """
    # the first cut itself is exact, and so is everything else until the next values
    cuts = [each for each in actions if each.action == "scale_learning_rate" and not each.exact]
    stops = [each for each in actions if each.action == "stop" and recording.goes_on_after(each)]
    limits = (each.moment if recording.goes_on_after(each) else (each.epoch, inf) for each in (*cuts, *stops))
    limit = min(limits, default=(stop, inf))
    ranked = sorted(actions, key=lambda each: (each.moment, _ORDER.index(each.action), each.by, each.of))
    return tuple(
        each._replace(exact=each.moment <= limit and each.by not in unsure) for each in ranked if each.epoch <= stop
    )
