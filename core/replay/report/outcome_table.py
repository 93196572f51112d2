"""What a replay found, as cells of a table: a row for each run."""

from __future__ import annotations

from ..outcome import Outcome
from ..replayer import Replay
from .formatting import at_epoch, duration, number

__all__ = ["outcome_table"]

_FILES = 4
"""Files of a run that are named; more are counted."""


def outcome_table(result: Replay) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, with the columns that have anything to say; epochs count from 1."""
    timed = result.seconds_saved is not None
    cut = any(each.cuts for each in result.outcomes)
    files = any(each.kept for each in result.outcomes)
    header = ["run", "epochs", "stops in", "best kept", "best seen", "loses", "epochs saved"]
    header += ["time saved"] * timed + ["first LR cut"] * cut + ["files"] * files
    return header, [_row(each, timed=timed, cut=cut, files=files) for each in result.outcomes]


def _row(outcome: Outcome, *, timed: bool, cut: bool, files: bool) -> list[str]:
    stop, seconds, lost = outcome.stop, outcome.seconds_saved, outcome.lost
    row = [
        outcome.name,
        str(outcome.epochs),
        "censored" if stop is None else f"{stop.epoch + 1}{'' if stop.exact else ' ?'}",
        at_epoch(outcome.best_at_stop),
        at_epoch(outcome.best_seen),
        "-" if lost is None else number(lost),
        str(outcome.epochs_saved),
    ]
    if timed:
        row.append("" if seconds is None else duration(seconds))
    if cut:
        more = len(outcome.cuts) - 1
        row.append(f"{outcome.cuts[0].epoch + 1}{f' (+{more})' if more else ''}" if outcome.cuts else "-")
    if files:
        kept = [str(epoch + 1) for epoch in outcome.kept]
        row.append(" ".join(kept) if len(kept) <= _FILES else f"{len(kept)} files")
    return row
