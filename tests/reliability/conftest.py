"""What the proofs share: each kind made once, and processes that may do harm to themselves."""

import os
import traceback
from collections.abc import Callable
from functools import cache

import pytest

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
    """Runs something in a forked process; returns its exit code."""

    def run(work: Callable[[], None]) -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work()
                code = 0
            except BaseException:  # noqa: BLE001 - the test sees the exit code
                traceback.print_exc()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run
