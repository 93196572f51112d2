"""What a report tells, in a terminal and on a page alike: the answer, one run, all runs, and the policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from ...terminal import format_duration, plural
from ..curves import Curves, build_curves
from ..libraries.settings import find_library, name_of
from ..metric_choice import MetricChoice
from ..recommend import fraction_of, gains
from ..records import Recording, RunOutcome
from ..replayer import Replay, replay
from ..sweeper import Recommendation, Sweep
from .counted import counted
from .formatting import estimate_cells, format_number, format_percent
from .snippets import format_call, format_callback

_HEADLINE = "balanced"
"""The advice with which a report opens."""

_LEFT_OUT: Final = (
    "each {} in turn is left out, and the policy that the others choose is applied to it. An estimate on the runs that "
    "chose the policy is optimistic; this one is what to expect of a new run."
)
"""What the estimate by cross-validation means."""


@dataclass(frozen=True)
class Report:
    """A replay, a sweep, or both, of recorded runs.

    Args:
        recordings: The runs.
        given: What the settings of the user would have decided; None without settings.
        found: What the policies of a grid save and lose; one of both is required.
    """

    recordings: Sequence[Recording]
    given: Replay | None
    found: Sweep | None

    @cached_property
    def result(self) -> Replay | None:
        """What the settings of the user would have decided, or else the recommended policy; None without any."""
        if self.given is not None or self.advised is None or self.found is None:
            return self.given
        choice = self.choice
        callbacks = [self.advised.callback]
        return replay(self.recordings, callbacks, by=self.found.library, monitor=choice.monitor, mode=choice.mode)

    @property
    def choice(self) -> MetricChoice:
        """The metric that decides."""
        first = self.given or self.found
        assert first is not None
        return first.choice

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, one sentence each."""
        first = self.given or self.found
        return () if first is None else first.notes

    @cached_property
    def advised(self) -> Recommendation | None:
        """The policy with which the report opens; None if none is recommended."""
        recommended = () if self.found is None else self.found.recommendations
        return next((each for each in recommended if each.advice == _HEADLINE), None)

    @cached_property
    def outcomes(self) -> list[RunOutcome]:
        """What would have been decided on each run: first the run that loses most; among equal ones, saves least.

        As in the answer, a loss is a fraction of what a run gains from its first to its best value.
        """
        outcomes = () if self.result is None else self.result.outcomes
        gained = dict(zip(self._logged.names, gains(self._logged).tolist(), strict=True))
        gain = np.array([gained.get(each.name, 0.0) for each in outcomes])
        lost = fraction_of(np.array([each.quality_lost or 0.0 for each in outcomes]), gain).tolist()
        ranked = zip(lost, outcomes, strict=True)
        return [each for _, each in sorted(ranked, key=lambda one: (-one[0], one[1].epochs_saved / one[1].epochs))]

    @cached_property
    def _logged(self) -> Curves:
        """The metric of each run that logs it, in the order of the runs."""
        return build_curves([each for each in self.recordings if self.choice.is_logged_in(each)], self.choice)

    @cached_property
    def curves(self) -> Curves:
        """The metric of each run that logs it, in the order of the outcomes."""
        rows = {name: row for row, name in enumerate(self._logged.names)}
        first = [each.name for each in self.outcomes if each.name in rows]
        return self._logged.in_order([rows[name] for name in dict.fromkeys([*first, *rows])])

    @property
    def answer(self) -> list[str]:
        """The answer in sentences; the first one names the callbacks."""
        if self.given is not None:
            return [*self._of_settings(self.given)]
        found = self.found
        assert found is not None
        if self.advised is None:
            return [f"Nothing is recommended: {found.nothing_to_learn}."]
        return [*self._of_advice(found, self.advised)]

    def _of_settings(self, given: Replay) -> list[str]:
        callbacks = "; ".join(format_callback(each) for each in given.callbacks)
        kinds = {name_of(type(each)) for each in given.callbacks}
        sentences = [f"By {find_library(given.library).title}'s rules: {callbacks}."]
        if "EarlyStopping" in kinds or any(each.stop for each in given.outcomes):
            sentences += self._of_stops(given)
        if "ReduceLROnPlateau" in kinds:
            cut = [each for each in given.outcomes if each.cuts]
            times = plural(sum(len(each.cuts) for each in cut), "time")
            where = f"{times}, in {len(cut)} of {plural(len(given.outcomes), 'run')}"
            sentences.append(f"It cuts the learning rate {where}." if cut else "It never cuts the learning rate.")
        if "ModelCheckpoint" in kinds:
            words = counted(each.unit for each in given.outcomes)
            fewest, most = (choose(len(each.kept) for each in given.outcomes) for choose in (min, max))
            models = words.total(most) if fewest == most else f"{fewest} to {words.total(most)}"
            sentences.append(f"At the end of a run, the models of {models} are kept.")
        return sentences

    def _of_stops(self, given: Replay) -> list[str]:
        mean, worst = given.quality_lost
        lost = "It would have lost nothing in any run."
        if worst > 0:
            lost = f"Quality lost: {format_number(mean)} on average, {format_number(worst)} at worst."
        sentences = [*self._saved(given), lost]
        if given.censored:
            last = counted(each.unit for each in given.outcomes).one
            runs = plural(given.censored, "run")
            sentences.append(
                f"Nothing stops {runs} of {len(given.outcomes)} up to the last recorded {last} (censored)."
            )
        return sentences

    def _of_advice(self, found: Sweep, advised: Recommendation) -> list[str]:
        here, others = advised.on_these, advised.on_others
        sentences = [f"Recommended: {format_call(advised.callback, found.library)}."]
        sentences += [] if self.result is None else self._saved(self.result)
        gain = "of what a run gains from its first to its best value"
        lost = f"{format_percent(here.lost)} {gain} on average, {format_percent(here.worst)} at worst"
        sentences.append(f"It loses {lost}." if here.worst > 0 else "It loses nothing in any of these runs.")
        if not advised.within_limit:
            sentences.append(f"{advised.words[0].upper()}{advised.words[1:]}.")
        if others is None:
            only = "run" if len(found.curves.names) == 1 else found.groups.words if found.groups else "run"
            sentences.append(f"There is only one {only}: give more to estimate what the policy does to a new one.")
        else:
            saves, loses, worst = estimate_cells(others)
            sentences.append(f"For a new run expect: saves {saves}, loses {loses}, at worst {worst}.")
        return sentences

    @staticmethod
    def _saved(result: Replay) -> list[str]:
        words = counted(each.unit for each in result.outcomes)
        saved, seconds = result.seconds_saved, result.seconds
        time = (
            "" if saved is None or seconds is None else f", and {format_duration(saved)} of {format_duration(seconds)}"
        )
        part = format_percent(result.epochs_saved / max(result.epochs, 1))
        return [f"It saves {result.epochs_saved:,} of {words.total(result.epochs)} ({part}){time}."]

    @property
    def left_out(self) -> str:
        """What the estimate by cross-validation means, in words; empty without one."""
        if not any(each.on_others for _, each in self.policies):
            return ""
        groups = None if self.found is None else self.found.groups
        return _LEFT_OUT.format("run" if groups is None else groups.words)

    @cached_property
    def groups(self) -> list[list[str]]:
        """The rows of a table of the groups of runs: name, runs, what is saved, and the highest quality lost."""
        found = None if self.found is None else self.found.groups
        if found is None or self.found is None or self.result is None:
            return []
        group_of = dict(zip(self.found.curves.names, found.names, strict=True))
        several: dict[str, list[RunOutcome]] = {}
        for each in self.outcomes:
            several.setdefault(group_of.get(each.name, each.name), []).append(each)
        return [
            [
                name,
                f"{len(runs):,}",
                format_percent(sum(each.epochs_saved for each in runs) / sum(each.epochs for each in runs)),
                format_number(max(each.quality_lost or 0.0 for each in runs)),
            ]
            for name, runs in several.items()
        ]

    def tabulate_groups(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of the groups; no rows if the runs are independent of each other."""
        found = None if self.found is None else self.found.groups
        return ["" if found is None else found.by, "runs", "saves", "loses at worst"], self.groups

    @property
    def policies(self) -> list[tuple[str, Recommendation]]:
        """The recommended policies, each once, with the advice that it follows, such as "careful and balanced"."""
        if self.found is None:
            return []
        same: dict[int, list[Recommendation]] = {}
        for each in self.found.recommendations:
            same.setdefault(each.number, []).append(each)
        return [(" and ".join(each.advice for each in several), several[0]) for several in same.values()]

    def tabulate_policies(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of the recommended policies."""
        several = any(each.on_others for _, each in self.policies)
        header = ["", "saves", "loses", "at worst", *(["left out: saves", "loses", "at worst"] if several else [])]
        rows = [
            [
                advice,
                *estimate_cells(each.on_these),
                *(estimate_cells(each.on_others) if several else []),
                str(each.policy),
            ]
            for advice, each in self.policies
        ]
        return [*header, "policy"], rows
