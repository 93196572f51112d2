"""The metrics of a run, one value per epoch, as lists, NumPy arrays, and pandas or polars data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from math import nan
from typing import TYPE_CHECKING, Any, Literal, overload

from ..errors import MissingDependency, SettingsError
from .names import hint_with_list
from .scalars import as_number, is_missing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

LIBRARIES = ("pandas", "polars")
STEP = "step"
"""The name of the weight updates at each validation of a loop by steps, beside the names of metrics."""


class History(dict[str, list[Any]]):
    """A dict of metric name to its values, one per finished epoch; None for an epoch that did not log the metric.

    That of a loop by steps has one value per validation, and "step" has the weight updates at each.

    Args:
        past: Each finished epoch or validation, counted from 0, with its metrics.

    >>> history = History([(0, {"loss": 2.0}), (1, {"loss": 1.0, "val_loss": 1.5})])
    >>> history
    {'loss': [2.0, 1.0], 'val_loss': [None, 1.5]}
    >>> history.arrays()["val_loss"]
    array([nan, 1.5])
    """

    def __init__(self, past: Iterable[tuple[int, Mapping[str, Any]]] = ()) -> None:
        past = list(past)
        names = dict.fromkeys(name for _, metrics in past for name in metrics)
        super().__init__((name, [metrics.get(name) for _, metrics in past]) for name in names)
        self.by_steps = STEP in names
        """Whether it is that of a loop by steps."""
        self.epochs = [] if self.by_steps else [epoch for epoch, _ in past]
        """The finished epochs, counted from 0; empty for a loop by steps."""

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the metrics that are single numbers as arrays, with NaN for an epoch that did not log the metric."""
        import numpy as np  # noqa: PLC0415 - the core is imported without it

        found: dict[str, NDArray[np.float64]] = {}
        for name, values in self.items():
            try:
                numbers = [nan if is_missing(value) else as_number(value) for value in values]
            except TypeError:
                continue
            found[name] = np.array(numbers, dtype=np.float64)
        return found

    @overload
    def frame(self, library: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def frame(self, library: Literal["polars"]) -> pl.DataFrame: ...

    def frame(self, library: Literal["pandas", "polars"]) -> pd.DataFrame | pl.DataFrame:
        """Return the metrics that are single numbers as a data frame, with one column for each metric.

        The epoch, counted from 0, is the index in pandas and a column "epoch" in polars; in a loop by steps, "step".

        Args:
            library: The library of the data frame.

        Raises:
            MissingDependency: The library is not installed.
            SettingsError: The library is not pandas or polars.
        """
        if library not in LIBRARIES:
            raise SettingsError(f"frame({library!r}): unknown library{hint_with_list(library, LIBRARIES, 'libraries')}")
        try:
            module = import_module(library)
        except ImportError:
            raise MissingDependency(f"{library} is not installed: pip install {library}") from None
        index = STEP if self.by_steps else "epoch"
        columns: dict[str, Any] = {**self.arrays(), index: self[STEP] if self.by_steps else self.epochs}
        frame = module.DataFrame({index: columns.pop(index), **columns})
        return frame.set_index(index) if library == "pandas" else frame
