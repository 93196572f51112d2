"""Fixtures of the reliability tests: each kind made once, and processes that may damage themselves."""

from collections.abc import Callable
from functools import cache

import pytest

from tests.core.storage import dying

from .subjects import KINDS, Kind

SIZE = 2_000


@cache
def _made(name: str) -> Kind:
    return KINDS[name](SIZE)


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind in turn."""
    return _made(request.param)


@pytest.fixture
def in_child() -> Callable[[Callable[[], None]], int]:
    """Run something in a forked process; return its exit code."""
    return dying.in_child
