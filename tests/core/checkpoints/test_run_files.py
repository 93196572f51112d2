"""The files of a run are those that exist, whatever the order of saves, deletions and failures."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus import Decision
from trainbus.checkpoints.run_files import RunFiles
from trainbus.decision import NOTHING, Forget, Save
from trainbus.storage.paths import Location

NAMES = "abcd"


class Step(NamedTuple):
    """One decision of a plugin that saves and deletes files, and which of its files cannot be written."""

    saves: frozenset[str]
    forgets: frozenset[str]
    fails: frozenset[str]
    background: bool


names = st.frozensets(st.sampled_from(NAMES), max_size=3)
steps = st.lists(
    st.builds(
        lambda saves, forgets, fails, background: Step(saves, forgets, fails & saves, background),
        names,
        names,
        names | st.just(frozenset[str]()),
        st.booleans(),
    ),
    max_size=8,
)


class Disk:
    """A model of what an executor does with files: those of one plugin, which deletes nothing if a save failed."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.pending: Step | None = None

    def exists(self, path: Path) -> bool:
        return str(path) in self.files

    def write(self, step: Step) -> list[Path]:
        self.files |= step.saves - step.fails
        if not step.fails:
            self.files -= step.forgets - step.saves
        return [Path(name) for name in sorted(step.fails)]

    def finish(self) -> list[Path]:
        pending, self.pending = self.pending, None
        return [] if pending is None else self.write(pending)

    def execute(self, step: Step) -> tuple[Decision, list[Path]]:
        """Return the actions that were executed, and the paths of the saves that failed."""
        before = self.finish()
        if before:
            step = step._replace(forgets=frozenset())
        if step.background:
            self.pending = step
            return done(step.saves, step.forgets), before
        now = self.write(step)
        forgets: Collection[str] = () if now else step.forgets
        return done(step.saves - step.fails, forgets), [*before, *now]


def done(saves: Collection[str], forgets: Collection[str]) -> Decision:
    return Decision(
        frozenset([*(Save(path=name, by="p") for name in saves), *(Forget(source=name, by="p") for name in forgets)])
    )


@given(steps)
@example(
    [Step(frozenset("a"), frozenset(), frozenset("a"), True), Step(frozenset("a"), frozenset(), frozenset(), True)]
)
def test_the_files_of_a_run_are_those_that_exist(planned: list[Step]) -> None:
    """Once the last one is written: none is missing, none is listed that does not exist, none twice."""
    files, disk = RunFiles(), Disk()
    for step in planned:
        files.record(*disk.execute(step), disk.exists)
        waiting = disk.pending.saves if disk.pending is not None else frozenset()
        assert set(map(str, files)) <= disk.files | waiting
    files.record(NOTHING, disk.finish(), disk.exists)

    assert len(files) == len(set(files))
    assert existing_by(files.log) == disk.files
    assert set(map(str, files)) == disk.files


@given(st.lists(st.tuples(st.sampled_from(NAMES), names), max_size=8))
def test_files_are_listed_in_the_order_in_which_they_were_last_written(
    planned: list[tuple[str, frozenset[str]]],
) -> None:
    """A decision does not delete the files that it saves."""
    files, expected = RunFiles(), list[str]()
    for name, forgets in planned:
        assert list(files.record(done({name}, forgets), (), lambda _: True)) == [Path(name)]
        expected = [each for each in expected if each != name and each not in forgets] + [name]

        assert files.newest == Path(name)

    assert list(map(str, files)) == expected


def existing_by(log: Iterable[tuple[Location, bool]]) -> set[str]:
    """Return the files that exist according to a log, which a later run reads."""
    last = {str(path): written for path, written in log}
    return {name for name, written in last.items() if written}


@pytest.mark.parametrize(
    ("spelled", "found"),
    [("m", True), ("./m", True), ("d/../m", True), ("link/m", True), ("d/m", False), ("m.npz", False), ("", False)],
)
def test_a_file_is_found_under_any_path_that_leads_to_it(spelled: str, found: bool) -> None:
    """Also under its absolute path."""
    Path("d").mkdir()
    Path("link").symlink_to(".")
    files = RunFiles()
    files.replace([Path("m")])

    assert (Path(spelled) in files) is found
    assert (Path(os.path.abspath(spelled)) in files) is found  # noqa: PTH100 - Path would resolve the link


@given(names, names)
def test_a_replacement_logs_what_has_changed(before: frozenset[str], after: frozenset[str]) -> None:
    """And what stays is not written again."""
    files = RunFiles()
    files.replace(map(Path, sorted(before)))
    files.replace(map(Path, sorted(after)))

    assert set(map(str, files)) == existing_by(files.log) == after
    assert len(files.log) == len(before) + len(before ^ after)


@given(names, names)
def test_a_missing_file_is_left_out_without_a_record(listed: frozenset[str], present: frozenset[str]) -> None:
    """If a process has deleted it and died, the resumed run deletes it again."""
    files = RunFiles()
    files.replace(map(Path, sorted(listed)))
    files.leave_out_missing(map(Path, present))

    assert set(map(str, files)) == listed & present
    assert existing_by(files.log) == listed
    assert files.newest == max(map(Path, listed & present), default=None)
