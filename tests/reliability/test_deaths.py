"""Any number of deaths and requests to stop, at any point and also inside of a resume, ends as the unbroken run."""

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.core.storage.dying import MEMORY
from trainbus import Decision, decision, hookimpl
from trainbus.checkpoints import newest_intact
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .kill_chains import ON_END, WHERE, Death, Listed, everything_listed, left_by, lived, train


def best_listed(folder: str, suffix: str, options: Mapping[str, Any]) -> list[Any]:
    """Only better models are saved, at the ends of epochs, and the decision of the stop restores one of them."""
    return [
        ModelCheckpoint(f"{folder}/best-{{epoch}}{suffix}", save_best_only=True, keep=2, save_on=ON_END, **options),
        EarlyStopping(patience=2, restore_best_weights=True, min_delta=0.7),
    ]


def batches_listed(folder: str, suffix: str, options: Mapping[str, Any]) -> list[Any]:
    """Two callbacks save in some of the same steps, the files of one of them at a fixed path."""
    return [
        ReduceLROnPlateau(patience=1, factor=0.5),
        ModelCheckpoint(f"{folder}/a{suffix}", save_freq="1 steps", save_last=True, **options),
        ModelCheckpoint(f"{folder}/b-{{step}}{suffix}", save_freq="2 steps", keep_last=3, save_on=ON_END, **options),
    ]


class StopsInside:
    """Saves twice and stops, in one decision and in the middle of an epoch."""

    def __init__(self, folder: str, suffix: str, *, weights_only: bool) -> None:
        self.paths, self.weights_only = [f"{folder}/{name}{suffix}" for name in ("before", "stop")], weights_only

    @hookimpl
    def on_batch_end(self, step: int) -> Decision | None:
        before, stop = (decision.save(path, weights_only=self.weights_only) for path in self.paths)
        if step == 7:
            return before | stop | decision.stop("seen enough")
        return before if step % 3 == 0 else None


def stop_listed(folder: str, suffix: str, options: Mapping[str, Any]) -> list[Any]:
    """A decision in the middle of an epoch saves and stops; more files are written at the epoch's end."""
    return [
        ModelCheckpoint(f"{folder}/m-{{epoch}}{suffix}", keep_last=2, save_last=True, save_on=ON_END, **options),
        StopsInside(folder, suffix, weights_only=options["save_weights_only"]),
        EarlyStopping(patience=2, restore_best_weights=True),
    ]


class Case(NamedTuple):
    """What is trained, how it is written, and who listens."""

    suffix: str
    background: bool
    listed: Listed


LISTS = (everything_listed, best_listed, batches_listed, stop_listed)
CASES = [Case(suffix, background, each) for suffix, background in ((".npz", False), (".pt", True)) for each in LISTS]
if settings.get_current_profile_name() == "thorough":
    more = [(".pt", False), (".skops", False), (".skops", True), (".safetensors", False), (".safetensors", True)]
    CASES += [Case(suffix, background, each) for suffix, background in more for each in LISTS]


FOLDER = Path(MEMORY or tempfile.gettempdir(), f"trainbus-deaths-{os.getpid()}")
"""Where everything is trained: the same paths are then in all files."""
RUN = FOLDER / "run"
SIGNAL = "run/signal."


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a directory, and remove it at the end."""
    folder.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(folder)


@cache
def unbroken(case: Case) -> dict[str, Any]:
    """Return what a training leaves that nothing has disturbed."""
    if case.suffix in (".pt", ".safetensors", ".dcp", ".keras"):
        import torch

        torch.set_num_threads(1)  # forked processes have no pool of threads
    options: dict[str, Any] = {"background": case.background, "resume": None, "listed": case.listed}
    with made(FOLDER):
        train(case.suffix, FOLDER / "warm", **options)
        assert lived(case.suffix, RUN, None, **options)
        return comparable(left_by(case.suffix, RUN))


def comparable(left: Any) -> Any:
    """Return what a training has left, without what a request to stop adds to it.

    That is the file ``signal``, which the run that resumes from it removes at its end.
    """
    if isinstance(left, dict):
        return {name: comparable(each) for name, each in left.items() if name != "calls" and SIGNAL not in str(name)}
    if not isinstance(left, (list, tuple)):
        return left
    found = [comparable(each) for each in left]
    return [each for each in found if not _is_of_signal(each)]


def _is_of_signal(each: Any) -> bool:
    """Return whether this is an action about the file ``signal``, its line, or what then remains of a decision."""
    if isinstance(each, list):
        return len(each) == 1 and isinstance(each[0], int)
    if isinstance(each, dict):
        named = {**each, **each.get("options", {})}
        return each.get("actions") == [] or any(SIGNAL in str(named.get(name)) for name in ("path", "source"))
    return isinstance(each, str) and SIGNAL in each


def differences(case: Case) -> list[str]:
    """Return in what the result differs from that of the unbroken run."""
    found, expected = comparable(left_by(case.suffix, RUN)), unbroken(case)
    return [name for name in dict.fromkeys([*found, *expected]) if found.get(name) != expected.get(name)]


class Lives(RuleBasedStateMachine):
    """A training that dies and is asked to stop again and again, then ends."""

    def __init__(self) -> None:
        super().__init__()
        self.over = False
        logging.disable()

    @initialize(case=st.sampled_from(CASES))
    def begins(self, case: Case) -> None:
        unbroken(case)
        FOLDER.mkdir()
        self.case, self.over = case, False

    def lives(self, death: Death | None = None, asked_in: int | None = None) -> None:
        """Train until death, a request, or the end; without a checkpoint, the next one is a new run."""
        suffix, background, listed = self.case
        options = {"background": background, "listed": listed, "asked_in": asked_in}
        ended = RUN.with_suffix(".json").read_text() if self.over else ""
        over = lived(suffix, RUN, death, resume="auto", **options)
        if self.over:  # its files must not change; its weights are those of the newest checkpoint
            RUN.with_suffix(".json").write_text(ended)
        elif not over and newest_intact(RUN)[0] is None:
            shutil.rmtree(RUN, ignore_errors=True)
        self.over |= over

    @rule(where=st.sampled_from(WHERE), number=st.integers(1, 20))
    def dies_soon(self, where: str, number: int) -> None:
        """Often inside of the resume."""
        self.lives(Death(where, number))

    @rule(where=st.sampled_from(WHERE), number=st.integers(1, 120))
    def dies(self, where: str, number: int) -> None:
        self.lives(Death(where, number // 7 if where == "commit" else number))

    @rule(step=st.integers(1, 12))
    def is_asked_to_stop(self, step: int) -> None:
        self.lives(asked_in=step)

    @rule(step=st.integers(1, 12), where=st.sampled_from(WHERE), number=st.integers(1, 80))
    def dies_while_it_stops(self, step: int, where: str, number: int) -> None:
        self.lives(Death(where, number // 7 if where == "commit" else number), step)

    def teardown(self) -> None:
        if hasattr(self, "case"):
            if not self.over:
                self.lives()
            assert self.over
            assert differences(self.case) == []
        logging.disable(logging.NOTSET)
        shutil.rmtree(FOLDER, ignore_errors=True)


Lives.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 4,
    stateful_step_count=3,
    phases=[Phase.explicit, Phase.generate],  # each example takes processes, so a failing one is not made smaller
    database=None,
)
TestLives = Lives.TestCase


def chain(case: Case, *deaths: Death | None) -> int:
    """Train in one process after the other, and then to the end; return how many were killed."""
    options: dict[str, Any] = {"background": case.background, "listed": case.listed, "resume": "auto"}
    return sum(not lived(case.suffix, RUN, death, **options) for death in (*deaths, None))


FORMATS = [("npz", False), *itertools.product(("pt", "safetensors", "dcp", "keras", "skops"), (False, True))]


@pytest.mark.parametrize(
    ("suffix", "background"),
    [
        pytest.param(f".{suffix}", each, marks=[] if suffix == "npz" else pytest.mark.exhaustive)
        for suffix, each in FORMATS
    ],
)
def test_a_decision_that_saves_and_stops_inside_an_epoch_ends_the_run_as_if_nothing_had_died(
    suffix: str, background: bool
) -> None:
    """After its first file, its second one, the first of the epoch's end, and again in the resume."""
    case = Case(suffix, background, stop_listed)
    unbroken(case)

    for commits in ((9,), (9, 1), (10, 1), (11, 1), (9, 2, 1)):
        with made(FOLDER):
            assert chain(case, *(Death("commit", number) for number in commits)) == len(commits)
            assert differences(case) == []
