"""What Lightning says about trainers that tests make."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet_lightning() -> Iterator[None]:
    """Hide warnings, and lines below errors, in each test of a module that imports this."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("lightning.pytorch")
        level = logger.level
        logger.setLevel(logging.ERROR)
        yield
        logger.setLevel(level)
