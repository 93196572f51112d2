"""A run that was killed and resumed decides and learns exactly as an uninterrupted one."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.storage.dying import MEMORY

from .resuming import TRAININGS, Moment, files_in, killed_and_resumed, suffix

FEW = [Moment("epoch", 4), Moment("checkpoint", 2), Moment("decision", 4), Moment("batch", 23)]
MANY = [
    *(Moment("epoch", number) for number in (1, 2, 4, 8, 12)),
    *(Moment("checkpoint", number) for number in (1, 2, 3, 6, 9)),
    *(Moment("decision", number) for number in (1, 4, 7)),
    *(Moment("batch", number) for number in (1, 7, 23, 38)),
]


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield a directory in memory, if the machine has one."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


ALL = [(name, batches) for name in TRAININGS for batches in (False, True)]
BY_DEFAULT = [("torch", True), ("keras", False)]


def case(name: str, moments: list[Moment], *, batches: bool) -> Any:
    marks = [pytest.mark.exhaustive] if moments is not FEW else []
    parts = (name, "batches" if batches else "epochs", "few" if moments is FEW else "many")
    return pytest.param(name, batches, moments, marks=marks, id="-".join(parts))


@pytest.mark.parametrize(
    ("name", "batches", "moments"),
    [
        *(case(name, FEW, batches=batches) for name, batches in BY_DEFAULT),
        *(case(name, many, batches=batches) for name, batches in ALL for many in [MANY[batches::2]]),
    ],
)
def test_whenever_it_is_killed_the_resumed_run_reports_what_the_uninterrupted_one_reported(
    name: str, home: Path, *, batches: bool, moments: list[Moment]
) -> None:
    """Decisions, rates, metrics, names and weights are the same to the bit, and so are the files that stay.

    Every training dies once at each of the many moments: at half of them with checkpoints within epochs, at the other
    half without. ``python -m tests.reliability.resuming`` kills all in every epoch.
    """
    folder = home / "run"
    uninterrupted = killed_and_resumed(name, folder, batches=batches)
    assert uninterrupted is not None
    wrong: list[str] = []
    for moment in moments:
        found = killed_and_resumed(name, folder, moment, batches=batches)
        if found is not None and (found[0] != suffix(found[0], uninterrupted[0]) or found[1] != uninterrupted[1]):
            wrong.append(str(moment))

    assert not wrong
    assert len(files_in(folder)) > 2
