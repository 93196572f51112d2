"""The outcomes of a replay as table cells, with a row for each run."""

from __future__ import annotations

from collections.abc import Sequence

from ...terminal import format_duration
from ..records import RunOutcome
from ..replayer import Replay
from .counted import counted, moment, moments
from .formatting import format_best, format_number

_FILES_SHOWN = 4
"""The number of files of a run up to which their epochs or steps are listed; more are counted."""


def tabulate_outcomes(result: Replay, ordered: Sequence[RunOutcome]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows, without columns that would be empty.

    Epochs count from 1; of other runs, moments are what they count.

    Args:
        result: The replay.
        ordered: Its outcomes in the order of the rows.
    """
    words = counted(each.unit for each in result.outcomes)
    timed = result.seconds_saved is not None
    cut = any(each.cuts for each in result.outcomes)
    files = any(each.kept for each in result.outcomes)
    header = ["run", words.many, words.stops, "best kept", "best seen", "loses", f"{words.many} saved"]
    header += ["time saved"] * timed + ["first LR cut"] * cut + ["files"] * files
    return header, [_row(each, timed=timed, cut=cut, files=files) for each in ordered]


def legend(result: Replay) -> list[str]:
    """Return what the marks of the table mean, those that it has."""
    words = counted(each.unit for each in result.outcomes)
    found: list[str] = []
    if result.censored:
        found.append(f"censored: nothing stops the run up to its last recorded {words.one}; nothing is known after it.")
    if any(each.hypothetical_from is not None for each in result.outcomes):
        found.append(
            "?: after a learning rate cut that the record does not show, training would have continued differently; "
            "the first cut is exact, later actions assume the recorded values."
        )
    if any(each.unsure and each.decisions for each in result.outcomes):
        found.append("?: the record may lack validations at which a callback looks, as a note says.")
    return found


def _row(outcome: RunOutcome, *, timed: bool, cut: bool, files: bool) -> list[str]:
    stop, seconds, lost = outcome.stop, outcome.seconds_saved, outcome.quality_lost
    row = [
        outcome.name,
        str(outcome.epochs),
        "censored" if stop is None else f"{moment(outcome, stop.epoch, stop.step)}{'' if stop.exact else ' ?'}",
        format_best(outcome.best_at_stop, outcome.unit),
        format_best(outcome.best_seen, outcome.unit),
        "-" if lost is None else format_number(lost),
        str(outcome.epochs_saved),
    ]
    if timed:
        row.append("" if seconds is None else format_duration(seconds))
    if cut:
        more = len(outcome.cuts) - 1
        row.append(f"{moment(outcome, outcome.cuts[0].epoch)}{f' (+{more})' if more else ''}" if outcome.cuts else "-")
    if files:
        kept = outcome.kept
        shown = moments(outcome, kept) if len(kept) <= _FILES_SHOWN else f"{len(kept)} files"
        row.append(shown if kept else "")
    return row
