"""Let a loader that Accelerate has prepared leave out batches, for a loop that cannot begin later."""

# Accelerate's types are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from accelerate import skip_first_batches
from accelerate.data_loader import DataLoaderShard
from torch.utils.data import DataLoader, IterableDataset
from transformers.trainer_utils import has_length

_LOGGER = logging.getLogger("transformers.trainer")


class PreparedLoader:
    """A loader that leaves out batches when it is iterated over.

    Args:
        loader: The loader of a loop.
        accumulated: How many of its batches are in a weight update.
    """

    def __init__(self, loader: Any, accumulated: int = 1) -> None:
        self._loader, self._accumulated = loader, accumulated
        batches = len(loader) if has_length(loader) else None
        self.updates = None if batches is None else max(math.ceil(batches / accumulated), 1)
        """The number of weight updates in a pass; None if it is unknown."""
        self._last_is_shorter = batches is not None and batches % accumulated > 0
        self.can_skip = type(loader) is DataLoaderShard
        """Whether it can leave out batches: one that Accelerate has prepared for each process itself."""

    def leave_out_all(self) -> None:
        """Give no batch from now on, and load none, if possible; the trainer does not warn of it."""
        if self.can_skip:
            _LOGGER.addFilter(_is_no_warning)
            self._iterate(_no_batches)

    def why_not(self, updates: int) -> str:
        """Return in words why the batches of the first updates cannot be left out; empty if they can."""
        if not self.can_skip:
            return "its batches, since Accelerate dispatches them or has not prepared their loader"
        if 0 < updates < (self.updates or sys.maxsize) and self._last_is_shorter:
            shorter = f"whose last weight update has fewer batches (gradient_accumulation_steps={self._accumulated})"
            return f"a part of an epoch {shorter}"
        return ""

    def leave_out(self, updates: int) -> float:
        """Leave out the batches of the first weight updates from now on.

        Those of a data set that has no indices are loaded nevertheless.

        Returns:
            Their part of all batches, if only a part is left out.
        """
        if not self.can_skip or not updates:
            return 0.0
        if self.updates is not None and updates >= self.updates:
            self.leave_out_all()
            return 0.0
        base, batches = self._loader.base_dataloader, updates * self._accumulated
        if type(base) is DataLoader and not isinstance(base.dataset, IterableDataset):
            self._iterate(skip_first_batches(base, batches).__iter__)
        else:
            iterate = type(base).__iter__
            self._iterate(lambda: islice(iterate(base), batches, None))
        return updates / self.updates if self.updates else 0.0

    def leave_out_none(self) -> None:
        """Give all batches from now on."""
        _LOGGER.removeFilter(_is_no_warning)
        if self.can_skip:
            vars(self._loader.base_dataloader).pop("__iter__", None)

    def call_before(self, function: Callable[[], object]) -> None:
        """Call a function, once, when the loader begins to give batches, if possible."""
        if not self.can_skip:
            return
        base = self._loader.base_dataloader

        def batches() -> Iterator[Any]:
            self.leave_out_none()
            function()
            return iter(base)

        self._iterate(batches)

    def _iterate(self, iterate: Callable[[], Iterator[Any]]) -> None:
        # the prepared loader calls this method by its name, so that no other loader has to take its place
        vars(self._loader.base_dataloader)["__iter__"] = iterate


def _is_no_warning(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("There seems not to be a single sample in your epoch_iterator")


def _no_batches() -> Iterator[Any]:
    return iter(())
