"""A training that is killed several times in a row, also while it resumes, ends as the one that was not killed."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.storage.dying import MEMORY

from .kill_chains import CASES, Chains, Death, in_process


@pytest.fixture(scope="module")
def line() -> Iterator[Chains]:
    """Yield the chains of the line, in a directory in memory if the machine has one."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Chains(".npz", Path(folder), background=False)


def deaths(*commits: int) -> list[Death]:
    return [Death("commit", number) for number in commits]


@pytest.mark.parametrize(
    "chain",
    [
        deaths(5, 1),  # after `last` of an epoch, then after the rest of that decision
        pytest.param(deaths(2, 1, 1), marks=pytest.mark.exhaustive),
        deaths(15, 1),  # in the last epoch, which nothing trains after
        pytest.param(deaths(16), marks=pytest.mark.exhaustive),
        deaths(17),  # after the file of the end
        pytest.param(deaths(15, 1, 1), marks=pytest.mark.exhaustive),
        [Death("before", 147), Death("after", 7)],
        [*deaths(17), Death("before", 4)],
        pytest.param(deaths(3, 1), marks=pytest.mark.exhaustive),
        pytest.param(deaths(8, 1), marks=pytest.mark.exhaustive),
        pytest.param(deaths(11, 1, 1), marks=pytest.mark.exhaustive),
        pytest.param([*deaths(15), Death("after", 3), Death("after", 3)], marks=pytest.mark.exhaustive),
    ],
    ids=lambda chain: "-".join(f"{each.where}{each.number}" for each in chain),
)
def test_whatever_kills_it_the_last_process_leaves_what_the_uninterrupted_one_leaves(
    chain: list[Death], line: Chains
) -> None:
    """Contents and states of all files, history, decisions, weights, journal and charts are the same."""
    differs, kills = line.differences(chain)

    assert differs == []
    assert kills >= 1


@pytest.mark.parametrize("commits", range(1, 18))
@pytest.mark.exhaustive
def test_a_second_death_after_any_commit_of_a_resume_changes_nothing(commits: int, line: Chains) -> None:
    for second in (1, 2):
        assert line.differences(deaths(commits, second))[0] == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("suffix", "background"),
    CASES,
)
def test_random_chains_change_nothing(suffix: str, background: bool) -> None:
    """Of each format, while the training waits and in the background."""
    found = in_process(suffix, 4, background=background)

    assert found["wrong"] == []
    assert found["kills"] >= 4
