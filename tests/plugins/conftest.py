"""Fixtures of the tests of plugins."""

import logging
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def float64() -> Iterator[None]:
    """Let Keras compute in double precision."""
    keras = pytest.importorskip("keras")
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives the lines logged so far, by any logger."""
    return lambda: [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
