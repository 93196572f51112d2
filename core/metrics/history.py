"""The metrics of a run, a value an epoch: lists, arrays, and frames where a library for them is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from math import nan
from typing import TYPE_CHECKING, Any, Literal, overload

from ..errors import MissingDependency, SettingsError
from .names import hint
from .scalars import as_number

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["History"]

LIBRARIES = ("pandas", "polars")


class History(dict[str, list[Any]]):
    """Name to values, one for each epoch that ended; None where an epoch did not log the metric.

    Args:
        past: each epoch that is over, with its metrics.

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
        self.epochs = [epoch for epoch, _ in past]
        """The epochs, counted from 0."""

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The metrics that are single numbers, as arrays; NaN where an epoch did not log one."""
        import numpy as np  # noqa: PLC0415 - the core is imported without it

        found: dict[str, NDArray[np.float64]] = {}
        for name, values in self.items():
            try:
                numbers = [nan if value is None else as_number(value) for value in values]
            except TypeError:
                continue
            found[name] = np.array(numbers, dtype=np.float64)
        return found

    @overload
    def frame(self, library: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def frame(self, library: Literal["polars"]) -> pl.DataFrame: ...

    def frame(self, library: Literal["pandas", "polars"]) -> pd.DataFrame | pl.DataFrame:
        """The metrics that are single numbers, as a frame: a column each, beside that of the epoch, counted from 0.

        In pandas the epoch is the index.

        Raises:
            MissingDependency: the library is not installed.
            SettingsError: it is another one.
        """
        if library not in LIBRARIES:
            raise SettingsError(
                f"frame({library!r}): no such library{hint(library, LIBRARIES)} libraries: {', '.join(LIBRARIES)}"
            )
        try:
            module = import_module(library)
        except ImportError:
            raise MissingDependency(f"{library} is not installed: pip install {library}") from None
        columns: dict[str, Any] = {"epoch": self.epochs, **self.arrays()}
        made = module.DataFrame(columns)
        return made.set_index("epoch") if library == "pandas" else made
