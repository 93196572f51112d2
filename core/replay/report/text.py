"""Replays and sweeps as people read them in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ...settings.settings_file import dumps
from ..curves import Curves
from ..library_settings import library
from ..metric_choice import Choice
from ..recommend import ADVICE, Estimate
from ..records import Recording
from ..replayer import Replay
from ..sweeper import Recommendation, Sweep
from .formatting import aligned, duration, number, percent, plural, short
from .outcome_table import outcome_table
from .snippets import brief, python

__all__ = ["overview", "replay_text", "sweep_text"]

_ROWS = 40
"""Runs of a table; those after them are only counted, unless all are asked for."""
_FRONTIER = 12


def overview(recordings: Sequence[Recording], found: Sweep, paths: Sequence[str], *, every: bool = False) -> str:
    """What the recorded runs did, and which three policies are recommended."""
    lines = [*_head(recordings, found.choice), "", *_runs(found.curves, every=every), ""]
    return "\n".join(
        [*lines, *_recommended(found), "", *_pastes(found), *_notes(recordings, found.notes), *_next(paths)]
    )


def replay_text(recordings: Sequence[Recording], result: Replay, *, every: bool = False) -> str:
    """What a list of callbacks would have decided, a line for each run."""
    lines = [*_head(recordings, result.choice), f"by {library(result.library).title}'s rules:"]
    lines += [f"  {short(brief(each), 400)}" for each in result.callbacks]
    return "\n".join([*lines, "", *_outcomes(result, every=every), *_notes(recordings, result.notes)])


def sweep_text(recordings: Sequence[Recording], found: Sweep) -> str:
    """What policies save and lose, and which three are recommended."""
    tried = ", ".join(f"{len(values)} {name}" for name, values in found.grid.axes.items() if len(values) > 1)
    lines = [*_head(recordings, found.choice), ""]
    lines += [
        f"{plural(len(found.grid), 'policy').replace('policys', 'policies')} ({tried or 'one of each'}); of these"
    ]
    lines += ["no other both saves more and loses less than:", "", *_frontier(found), "", *_recommended(found), ""]
    return "\n".join([*lines, *_pastes(found), *_notes(recordings, found.notes)])


def _head(recordings: Sequence[Recording], choice: Choice) -> list[str]:
    formats = Counter(each.format or "in memory" for each in recordings)
    epochs = sum(len(each.epochs) for each in recordings)
    told = ", ".join(f"{name} ({count})" if len(formats) > 1 else name for name, count in formats.most_common())
    better = "lower" if choice.mode == "min" else "higher"
    return [
        f"{plural(len(recordings), 'run')}, {plural(epochs, 'epoch')}: {told}",
        f"decided by {short(choice.monitor)}, {better} is better ({choice.why})",
    ]


def _runs(curves: Curves, *, every: bool) -> list[str]:
    rows: list[list[str]] = []
    for row, name in enumerate(curves.names):
        count = int(curves.lengths[row])
        place = int(curves.best[row, :count].argmax())
        best, epoch = curves.sign * curves.best[row, count - 1], int(curves.epochs[row, place])
        seconds, after = curves.end[row] - curves.begin[row], int(curves.last[row]) - epoch
        known = abs(best) != float("inf")
        rows.append(
            [
                short(name),
                f"{curves.last[row] - curves.first[row] + 1}",
                number(best) if known else "-",
                str(epoch + 1) if known else "-",
                str(after) if known else "-",
                duration(float(seconds)) if seconds == seconds else "",
            ]
        )
    header = ["run", "epochs", "best", "in epoch", "epochs after"]
    if any(row[-1] for row in rows):
        return _cut([*header, "time", ""], [[*row, ""] for row in rows], every=every)
    return _cut([*header, ""], [[*row[:-1], ""] for row in rows], every=every)


def _outcomes(result: Replay, *, every: bool) -> Iterator[str]:
    header, rows = outcome_table(result)
    yield from _cut([*header, ""], [[short(row[0]), *row[1:], ""] for row in rows], every=every)
    mean, worst = result.lost
    part = result.epochs_saved / max(result.epochs, 1)
    saved, seconds = result.seconds_saved, result.seconds
    time = "" if saved is None or seconds is None else f" and {duration(saved)} of {duration(seconds)}"
    yield ""
    yield f"in total {result.epochs_saved:,} of {plural(result.epochs, 'epoch')} saved ({percent(part)}){time};"
    yield f"quality lost: {number(mean)} on average, {number(worst)} at worst"
    if result.censored:
        yield ""
        yield f"censored ({result.censored}): not stopped up to the last recorded epoch, beyond which nothing is known"
    if any(not each.exact for outcome in result.outcomes for each in outcome.decisions):
        if not result.censored:
            yield ""
        yield "?: after a learning rate cut that the record does not show, the run would have gone on otherwise;"
        yield "   the first cut is exact, what is marked is what would follow from the values as they were recorded"


def _frontier(found: Sweep) -> list[str]:
    numbers = list(found.frontier)
    if len(numbers) > _FRONTIER:
        chosen = sorted({round(place * (len(numbers) - 1) / (_FRONTIER - 1)) for place in range(_FRONTIER)})
        numbers = [numbers[place] for place in chosen]
    rows = [[*_estimate(found.estimate(each))[1:], str(found.grid[each])] for each in numbers]
    return aligned(["saves", "loses", "at worst", "policy"], [[each[0].rjust(6), *each[1:]] for each in rows])


def _recommended(found: Sweep) -> list[str]:
    several = any(each.on_others for each in found.recommendations)
    header = ["", "saves", "loses", "at worst", *(["left out: saves", "loses", "at worst"] if several else []), ""]
    rows = [[each.advice, *_row(each, several=several), ""] for each in found.recommendations]
    lines = ["recommended, by how much they may lose:", "", *aligned(header, rows), ""]
    lines += [f"{name}: {limit.words}" for name, limit in ADVICE.items()]
    if several:
        lines += ["left out: the same choice made without a run and applied to it, for each run in turn; expect that"]
    else:
        lines += ["one run only: what a policy does to another is not known; more runs would tell"]
    return lines


def _row(each: Recommendation, *, several: bool) -> list[str]:
    others = _estimate(each.on_others)[1:] if each.on_others else ["-"] * 3
    return [*_estimate(each.on_these)[1:], *(others if several else [])]


def _estimate(estimate: Estimate) -> list[str]:
    return ["", percent(estimate.saved), percent(estimate.lost), percent(estimate.worst)]


def _pastes(found: Sweep) -> Iterator[str]:
    own = found.library == "trainbus"
    same: dict[str, list[str]] = {}
    for each in found.recommendations:
        same.setdefault(python(each.callback, found.library), []).append(each.advice)
    for each in found.recommendations:
        code = python(each.callback, found.library)
        advice = same.pop(code, None)
        if advice is None:
            continue
        yield f"# {', '.join(advice)}" + (", in trainbus.toml:" if own else ":")
        if own:
            yield from dumps([each.callback]).splitlines()
            yield "# in Python:"
        yield code
        yield ""


def _notes(recordings: Sequence[Recording], notes: Sequence[str]) -> Iterator[str]:
    told = [f"{short(each.name)}: {short(note, 200)}" for each in recordings for note in each.notes]
    if notes or told:
        yield ""
    yield from (f"note: {short(note, 400)}" for note in notes)
    yield from (f"note: {note}" for note in told[:_FRONTIER])
    if len(told) > _FRONTIER:
        yield f"note: and {len(told) - _FRONTIER} more of what readers left out or guessed (--json has them all)"


def _next(paths: Sequence[str]) -> Iterator[str]:
    shown = " ".join(short(each, 60) for each in paths)
    yield f"settings of your own: trainbus replay {shown} --early-stopping patience=5,min_delta=0.001"
    yield f"the whole frontier:   trainbus sweep {shown}      as a page: --html report.html"


def _cut(header: Sequence[str], rows: Sequence[Sequence[str]], *, every: bool) -> list[str]:
    shown = rows if every or len(rows) <= _ROWS else rows[: _ROWS - 1]
    lines = aligned(header, shown)
    return [*lines, f"and {len(rows) - len(shown):,} more (--all)"] if len(shown) < len(rows) else lines
