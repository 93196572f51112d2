"""A job under torchrun whose processes are killed or interrupted decides in the end as an uninterrupted one."""

import json
import signal
from pathlib import Path

import pytest

from .elastic import last_reports
from .jobs import job, torchrun


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an uninterrupted training on two ranks."""
    folder = tmp_path_factory.mktemp("whole")
    ended = job(folder, 2, "tests.distributed.elastic", json.dumps({"save_freq": "3 steps"}), forked=True)
    assert ended.codes == [0, 0], ended.errors
    return folder


@pytest.mark.exhaustive
def test_a_job_that_is_killed_and_stopped_ends_as_the_uninterrupted_one(uninterrupted: Path, tmp_path: Path) -> None:
    """A rank is killed, torchrun restarts all and gets a SIGTERM; the next job ends with the same weights."""
    acts = [
        {"rank": 1, "epoch": 3, "batch": 5, "do": "SIGKILL", "attempt": 0},
        {"rank": 0, "epoch": 6, "batch": 2, "do": "agent", "attempt": 1},
    ]
    words = json.dumps({"acts": acts, "save_freq": "3 steps"})
    stopped = torchrun(tmp_path, 2, "tests.distributed.elastic", words, restarts=1)
    assert stopped.codes == [1], stopped.errors
    assert "SIGTERM: the run ended in epoch 7" in stopped.errors
    assert (tmp_path / "run" / "signal.pt").exists()
    ended = job(tmp_path, 2, "tests.distributed.elastic", json.dumps({"save_freq": "3 steps"}), forked=True)
    assert ended.codes == [0, 0], ended.errors
    assert not (tmp_path / "run" / "signal.pt").exists()
    for rank in range(2):
        assert last_reports(tmp_path, rank) == last_reports(uninterrupted, rank)


@pytest.mark.exhaustive
def test_a_signal_to_one_rank_is_the_exit_of_all(tmp_path: Path) -> None:
    """In an epoch without batch listeners all ranks leave after the same batch, and exit by the signal."""
    acts = [{"rank": 1, "epoch": 0, "batch": 100, "do": "SIGTERM"}]
    ended = job(tmp_path, 2, "tests.distributed.elastic", json.dumps({"rows": 40_000, "acts": acts}), forked=True)
    assert ended.codes == [-signal.SIGTERM] * 2, ended.errors
    first, second = (last_reports(tmp_path, rank) for rank in range(2))
    assert first == second
    assert not Path(tmp_path, "run", "last.pt").exists()
    assert Path(tmp_path, "run", "signal.pt").exists()


@pytest.mark.exhaustive
def test_a_rank_that_dies_is_named_by_the_others(tmp_path: Path) -> None:
    """Four ranks that meet at every batch: three of them end with an error that names the missing rank."""
    acts = [{"rank": 2, "epoch": 1, "batch": 3, "do": "SIGKILL"}]
    words = json.dumps({"acts": acts, "save_freq": "100 steps"})
    ended = job(tmp_path, 4, "tests.distributed.elastic", words, forked=True)
    assert ended.codes == [1, 1, -signal.SIGKILL, 1], ended.errors
    assert "RankError: rank 2 of 4 gone" in ended.errors
