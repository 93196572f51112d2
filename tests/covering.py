"""Of the product of a test's parameters, the cases that run by default: few that cover each pair, or each value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import pytest

MARK = "covering"


def keys(case: Mapping[str, object], strength: int) -> set[frozenset[tuple[str, object]]]:
    """Return the combinations of so many parameters' values that a case covers."""
    return {frozenset(each) for each in combinations(sorted(case.items()), min(strength, len(case)))}


def covering(cases: Iterable[Mapping[str, object]], strength: int) -> list[int]:
    """Return the numbers of few cases that cover every combination which the cases cover together."""
    covers = [keys(case, strength) for case in cases]
    missing = set[frozenset[tuple[str, object]]]().union(*covers)
    chosen = list[int]()
    while missing:
        best = max(range(len(covers)), key=lambda number: len(covers[number] & missing))
        chosen.append(best)
        missing -= covers[best]
    return sorted(chosen)


def leave_the_rest_to_exhaustive(items: Iterable[pytest.Item]) -> None:
    """Mark every case exhaustive that the others of its test cover, if the test has the mark ``covering``."""
    tests: dict[tuple[str, str], list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker(MARK):
            tests.setdefault((item.parent.nodeid if item.parent else "", item.originalname), []).append(item)
    for each in tests.values():
        usual = [item for item in each if not item.get_closest_marker("exhaustive")]
        mark = each[0].get_closest_marker(MARK)
        assert mark is not None
        values = [{name: id(value) for name, value in item.callspec.params.items()} for item in usual]
        chosen = set(covering(values, mark.args[0]))
        for number, item in enumerate(usual):
            if number not in chosen:
                item.add_marker(pytest.mark.exhaustive)
