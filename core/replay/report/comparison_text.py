"""The report of a comparison as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ...terminal import format_duration, plural
from ..axis import AXES
from ..comparison.comparison import ComparedRun, Comparison
from ..comparison.differences import MISSING, shown
from ..records import Recording
from .counted import counted
from .formatting import align_columns, format_number, shorten
from .text import joined, notes_text, summary

SETTINGS_SHOWN = 6
"""The number of settings that the terminal has room for."""
_SETTING_WIDTH = 24


def comparison_text(recordings: Sequence[Recording], found: Comparison) -> str:
    """Return the runs side by side, the best first, with the settings in which they differ."""
    names = found.differing[:SETTINGS_SHOWN]
    header, rows = tabulate(found, names)
    lines = [*summary(recordings, found.choice, "compared"), ""]
    lines += align_columns([*header, ""], [[*each, ""] for each in rows])
    left = found.differing[SETTINGS_SHOWN:]
    if left:
        listed = ", ".join(shorten(name, _SETTING_WIDTH) for name in left[:SETTINGS_SHOWN])
        more = ", ..." if len(left) > SETTINGS_SHOWN else ""
        lines += ["", f"The runs also differ in {plural(len(left), 'other setting')}: {listed}{more}"]
        lines += ["(--json and --html show all)."]
    elif not any(each.settings for each in found.runs):
        lines += ["", "No file of the runs tells their settings."]
    elif len(found.runs) > 1 and not names:
        lines += ["", "The known settings of the runs are equal."]
    lines += ["", *notes_text(recordings, found.notes)]
    return joined(lines)


def tabulate(found: Comparison, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows, without columns that would be empty.

    Args:
        found: The comparison.
        names: The settings that get a column.
    """
    words = counted(each.unit for each in found.runs)
    timed = any(each.seconds is not None for each in found.runs)
    header = ["run", "best", words.best, words.many, "last", *(["time", "to best"] if timed else [])]
    header += [shorten(name, _SETTING_WIDTH) for name in names]
    return header, [_row(each, names, timed=timed) for each in found.runs]


def _row(run: ComparedRun, names: Sequence[str], *, timed: bool) -> list[str]:
    row = [shorten(run.name), *_best(run), f"{run.rows:,}", format_number(run.last)]
    if timed:
        row += ["" if each is None else format_duration(each) for each in (run.seconds, run.seconds_to_best)]
    settings = (shown(run.settings[name]) if name in run.settings else MISSING for name in names)
    return [*row, *(shorten(each, _SETTING_WIDTH) for each in settings)]


def _best(run: ComparedRun) -> list[str]:
    if run.best is None:
        return ["-", "-"]
    moment = AXES[run.unit].moment(run.best.epoch, run.best.step)
    return [format_number(run.best.value), moment.removeprefix(f"{AXES[run.unit].place} ")]
