"""Ranks that wait for one that is stopped for ever raise an error in time; what would wait for ever is refused."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from .jobs import job
from .stopped import MODULE

pytestmark = pytest.mark.exhaustive


def played(folder: Path, size: int = 2, **words: Any) -> list[str]:
    """Return the error of each rank that was not stopped; each ends its process."""
    stops = words.get("stops")
    ended = job(folder, size, MODULE, json.dumps(words), stopped=stops, forked=True)
    errors = [report for rank, report in enumerate(ended.reports) if rank != stops]
    expected = [-signal.SIGKILL if rank == stops else 1 for rank in range(size)]
    assert ended.codes == ([0] * size if set(errors) == {"nothing"} else expected), ended.errors
    return errors


@pytest.mark.parametrize(
    ("stops", "where", "sharded"), [(0, "epoch", True), (0, "end", False), (1, "epoch", False), (1, "end", True)]
)
def test_a_rank_that_is_stopped_outside_of_collectives_ends_the_others(
    stops: int, where: str, sharded: bool, tmp_path: Path
) -> None:
    """After the subject's ``timeout``, also if the job's store lives in the stopped process; every pair is there."""
    (error,) = played(tmp_path, stops=stops, where=where, sharded=sharded)

    assert error.startswith(
        ("RankError: another rank is gone or stopped, and the store of the job with it", "RankError: rank 1 of 2 gone")[
            stops
        ]
    )


@pytest.mark.parametrize("stops", [0, 1])
def test_a_rank_that_is_stopped_inside_a_collective_ends_the_others(stops: int, tmp_path: Path) -> None:
    """After the timeout of ``init_process_group``, by torch's own error, which trainbus passes on."""
    (error,) = played(tmp_path, stops=stops, where="collective")

    assert error.startswith("RuntimeError: ")
    assert "imed out" in error


@pytest.mark.parametrize(
    ("batches", "save_freq", "refused"),
    [
        ([2, 3], "1 step", True),
        ([5, 1], "2 steps", True),
        ([3, 4, 5], "1 step", True),
        ([3, 3], "1 step", False),
        ([2, 3], "epoch", False),
        ([4, 1, 2], "epoch", False),
    ],
)
def test_uneven_batches_inside_join_are_refused_where_ranks_would_wait_for_ever(
    batches: list[int], save_freq: str, refused: bool, tmp_path: Path
) -> None:
    """On all ranks, in the first batch; equal numbers and decisions at epochs are served."""
    errors = played(tmp_path, len(batches), joined=True, batches=batches, save_freq=save_freq)

    if not refused:
        assert errors == ["nothing"] * len(batches)
        return
    for error in errors:
        assert error.startswith("LoopError: inside join() a rank without batches waits")
        assert f"(now: {', '.join(map(str, batches))})" in error
