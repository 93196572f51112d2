"""A small subject for tests: a line, fitted by gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..capabilities import Node
from ..storage.archive import check_arrays
from ..storage.atomic_file import HashedFile, reading


class LineSubject:
    """A straight line that is fitted by gradient descent: a small subject for tests, with many capabilities.

    Args:
        learning_rate: The step size of the gradient descent.

    >>> subject = LineSubject()
    >>> float(subject.slope)
    0.0
    >>> for _ in range(100):
    ...     loss = subject.train(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    >>> loss < 1e-3
    True
    """

    def __init__(self, learning_rate: float = 0.5) -> None:
        self.slope = np.zeros(())
        self.offset = np.zeros(())
        self.learning_rate = learning_rate

    def train(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
        """Take one gradient step, and return the loss before it.

        Args:
            x: The inputs, of shape ``(samples,)``.
            y: The targets, of the same shape.
        """
        error = self.slope * x + self.offset - y
        self.slope -= self.learning_rate * (error * x).mean()
        self.offset -= self.learning_rate * error.mean()
        return float((error**2).mean())

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return ".npz": it writes NumPy archives."""
        return (".npz",)

    def save(self, path: Path, *, weights_only: bool) -> str:
        """Write slope, offset and, unless ``weights_only``, the learning rate; return the digest of the file."""
        more = {} if weights_only else {"learning_rate": np.array(self.learning_rate)}
        with HashedFile(path) as file:
            np.savez(file, slope=self.slope, offset=self.offset, **more)  # type: ignore[arg-type]
        return file.digest

    def content_writer(self, content: Mapping[str, Any]) -> Callable[[Path], str]:
        """Copy arrays by name; return a function that writes them as ``np.savez`` does."""
        arrays = {name: np.array(value) for name, value in content.items()}

        def write(path: Path) -> str:
            with HashedFile(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            return file.digest

        return write

    def load(self, path: Path) -> None:
        """Load a file that ``save`` wrote."""
        with reading(path), path.open("rb") as file:
            check_arrays(file)
            with np.load(file) as arrays:
                line = np.asarray(arrays["slope"], float), np.asarray(arrays["offset"], float)
                learning_rate = float(arrays.get("learning_rate", self.learning_rate))
        self.restore(line)
        self.learning_rate = learning_rate

    def snapshot(self) -> object:
        """Return copies of slope and offset."""
        return self.slope.copy(), self.offset.copy()

    def restore(self, snapshot: Any) -> None:
        """Set slope and offset to copies of a snapshot."""
        self.slope, self.offset = (np.array(value) for value in snapshot)

    def learning_rates(self) -> Mapping[str, float]:
        """Return the learning rate by name."""
        return {"learning_rate": self.learning_rate}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set the learning rate."""
        self.learning_rate = rates.get("learning_rate", self.learning_rate)

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Return slope and offset by name."""
        return [("line/slope", self.slope), ("line/offset", self.offset)]

    def graph(self) -> Sequence[Node]:
        """Return two nodes, the input and the line."""
        return [Node("input", "Input"), Node("line", "Line", ("input",), (("parameters", "2"),))]
