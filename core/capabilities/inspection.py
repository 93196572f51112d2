"""Capabilities that show the parts of a model and what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable


@runtime_checkable
class HasWeights(Protocol):
    """A subject with named arrays that training changes."""

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Return name and NumPy array of every weight, in a stable order; names are unique, parts joined by "/"."""
        ...


@runtime_checkable
class HasGradients(Protocol):
    """A subject whose gradients of the loss can be read."""

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Keep the gradients of the next weight update; return a function that returns them after it.

        They are NumPy arrays under the names of their weights; of a sparse gradient, the stored values.
        """
        ...


@runtime_checkable
class HasActivations(Protocol):
    """A subject that can show the outputs of its layers for held-out data."""

    def activations(self, batch_size: int) -> Iterable[tuple[str, Any]]:
        """Return layer names and NumPy arrays of their outputs, for all held-out data in slices of ``batch_size``.

        A layer occurs once in each slice, or as often as the model calls it. Training continues unchanged afterwards
        but for the random generators of Python, NumPy and ``HasRandomState``, which the caller restores.
        """
        ...


class Node(NamedTuple):
    """One box of a subject's graph."""

    name: str
    """A unique name; parts joined by "/" nest, as files in folders."""
    kind: str
    """The name of its class or operation."""
    inputs: tuple[str, ...] = ()
    """Names of the nodes whose output it takes."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values to show."""
    shape: tuple[int | None, ...] | None = None
    """Shape of its output, with None for a size that varies; None if the shape is unknown."""


@runtime_checkable
class HasGraph(Protocol):
    """A subject whose parts can be drawn as a graph."""

    def graph(self) -> Sequence[Node]:
        """Return the parts, each with the names of the parts whose output it takes."""
        ...


@runtime_checkable
class HasTrace(Protocol):
    """A subject whose operations can be traced through one pass over held-out data."""

    def trace(self, batch_size: int) -> Sequence[Node]:
        """Return the operations of a pass over ``batch_size`` samples; training continues as after ``activations``."""
        ...


@runtime_checkable
class HasConfig(Protocol):
    """A subject described by what Keras's ``model.to_json`` writes, which TensorBoard draws as its conceptual graph."""

    def config(self) -> str:
        """Return the description, as JSON."""
        ...
