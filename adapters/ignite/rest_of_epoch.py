"""The rest of an epoch of Ignite that was interrupted."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ignite.engine import Engine

from trainbus.binding import RunDriver


class RestOfEpoch:
    """The batches of an interrupted epoch that were not trained on; iterates over the loader anew after them.

    Args:
        engine: The trainer.
        driver: Told when the loader has reached the interruption, whose random generators it restores.
        only_end: Whether all batches were trained on. Then it gives the last one, on which the trainer does not train.
    """

    def __init__(self, engine: Engine, driver: RunDriver, *, only_end: bool) -> None:
        self._engine, self._driver, self._only_end = engine, driver, only_end
        self._loader: Any = engine.state.dataloader
        self._skip = driver.batches_to_skip - only_end

    def __iter__(self) -> Generator[Any]:
        """Begin nothing before the first batch is asked for: a loader draws random numbers when it begins."""
        skip, self._skip = self._skip, 0
        if not (skip and self._only_end):
            self._engine.state.dataloader = self._loader
        batches = iter(self._loader)
        for _ in range(skip):
            next(batches, None)
        while self._driver.batches_to_skip and not self._only_end:
            self._driver.begin_batch()
        yield from batches
