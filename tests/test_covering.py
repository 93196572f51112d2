"""The cases of a product that run by default."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .covering import covering, keys


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3))
def test_every_combination_is_covered(sizes: list[int], strength: int) -> None:
    cases = [dict(zip("abcd", values, strict=False)) for values in product(*map(range, sizes))]
    chosen = covering(cases, strength)

    assert set().union(*(keys(cases[each], strength) for each in chosen)) == set().union(
        *(keys(each, strength) for each in cases)
    )


@pytest.mark.parametrize(
    ("sizes", "strength", "most"), [((3, 3), 1, 3), ((2, 2, 2), 2, 5), ((5, 4, 2), 2, 24), ((7,), 2, 7)]
)
def test_few_cases_suffice(sizes: tuple[int, ...], strength: int, most: int) -> None:
    cases: list[Any] = [dict(enumerate(map(str, values))) for values in product(*map(range, sizes))]

    assert len(covering([{str(name): value for name, value in each.items()} for each in cases], strength)) <= most
