"""Let a loader that Accelerate has prepared leave out batches, for a loop that cannot begin later."""

# Accelerate's types are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from accelerate import skip_first_batches
from accelerate.data_loader import DataLoaderShard
from torch.utils.data import DataLoader, IterableDataset

_LOGGER = logging.getLogger("transformers.trainer")


class PreparedLoader:
    """A loader that leaves out batches when it is iterated over.

    Args:
        loader: The loader of a loop.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.can_skip = type(loader) is DataLoaderShard
        """Whether it can leave out batches: one that Accelerate has prepared for each process itself."""

    def leave_out_all(self) -> None:
        """Give no batch from now on, and load none; the trainer does not warn of it."""
        _LOGGER.addFilter(_is_no_warning)
        self._iterate(_no_batches)

    def leave_out(self, batches: int) -> None:
        """Leave out the first batches from now on; those of a data set that has no indices are loaded."""
        base = self._loader.base_dataloader
        if type(base) is DataLoader and not isinstance(base.dataset, IterableDataset):
            self._iterate(skip_first_batches(base, batches).__iter__)
        else:
            iterate = type(base).__iter__
            self._iterate(lambda: islice(iterate(base), batches, None))

    def leave_out_none(self) -> None:
        """Give all batches from now on."""
        _LOGGER.removeFilter(_is_no_warning)
        if self.can_skip:
            vars(self._loader.base_dataloader).pop("__iter__", None)

    def call_before(self, function: Callable[[], object]) -> None:
        """Call a function, once, when the loader begins to give batches."""
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
