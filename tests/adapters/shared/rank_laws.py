"""What holds for the ranks of a job on every framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...distributed.jobs import job
from .rank_scenes import LENGTHS, NUMBERS, SHORT, SIZE, VALUES


def played(folder: Path, framework: str) -> list[dict[str, Any]]:
    """Return the report of each rank of a job."""
    ended = job(folder, SIZE, "tests.adapters.shared.rank_scenes", framework, forked=framework == "torch")
    assert ended.codes == [0] * SIZE, ended.errors
    return ended.reports


def assert_exchanges(reports: list[dict[str, Any]]) -> None:
    """Every rank has the same sums to the bit, rank 0's values, and rank 0 alone has gathered those of all."""
    for rank, each in enumerate(reports):
        sums, maxima, none = each["reductions"]
        assert (sums, maxima) == (reports[0]["reductions"][0], [max(column) for column in zip(*NUMBERS, strict=True)])
        for found, column in zip(sums, zip(*NUMBERS, strict=True), strict=True):
            assert abs(found - sum(column)) <= 1e-15 * sum(map(abs, column))
        assert none == []
        assert each["broadcasts"] == [LENGTHS, VALUES]
        texts, values = each["gathered"]
        ranks = range(SIZE) if rank == 0 else ()
        assert texts == [[length * other for other in ranks] for length in LENGTHS]
        assert values == [[[other, value] for other in ranks] for value in VALUES]


def assert_notes(reports: list[dict[str, Any]]) -> None:
    """The first text stored under a name is that of all ranks; another group has other names."""
    stored, found, missing = reports[0]["notes"]
    assert stored == found
    assert found[0].startswith("a of ")
    assert found[1].startswith("b of ")
    assert missing is None
    assert all(each["notes"] == reports[0]["notes"] for each in reports)


def assert_left(reports: list[dict[str, Any]]) -> None:
    """A rank that has left cannot exchange; the others get its reason at once, and then know that the group failed."""
    for rank, each in enumerate(reports):
        first, second = each["left"]
        if rank == 1:
            assert first == second == "the group of ranks is closed: this rank has left it"
        else:
            assert first.startswith("rank 1 has left: ValueError: mine"), first
            assert second == "the group of ranks is closed: one of them has failed"


def assert_late(reports: list[dict[str, Any]]) -> None:
    """Ranks that wait longer than the timeout raise an error that names it."""
    for each in reports[:2]:
        (error,) = each["late"]
        assert error.startswith(f"the ranks did not meet within {SHORT} seconds"), error
