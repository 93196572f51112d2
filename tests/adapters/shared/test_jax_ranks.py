"""The ranks of a ``jax.distributed`` job."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from .rank_laws import assert_exchanges, assert_late, assert_left, assert_notes, played
from .rank_scenes import SHORT

if importlib.util.find_spec("jax") is None:
    pytest.skip("needs JAX: pip install 'trainbus[test-jax]'", allow_module_level=True)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the reports of three ranks, from one launch."""
    return played(tmp_path_factory.mktemp("jax"), "jax")


@pytest.mark.parametrize("law", [assert_exchanges, assert_notes, assert_left, assert_late])
def test_ranks_exchange_what_the_protocol_says(law: Any, reports: list[dict[str, Any]]) -> None:
    """``rank_laws`` states it for every framework."""
    law(reports)


def test_a_rank_that_does_not_answer_is_waited_for_until_the_timeout(reports: list[dict[str, Any]]) -> None:
    """The coordination service does not report ranks that are alive and silent."""
    for each in reports[:2]:
        assert each["silent"] == [f"the ranks did not meet within {SHORT} seconds"]
