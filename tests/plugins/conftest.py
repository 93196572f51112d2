"""Fixtures of the tests of plugins."""

import logging
from collections.abc import Callable

import pytest


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives the lines logged so far, by any logger."""
    return lambda: [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
