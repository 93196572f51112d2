"""Capabilities to inspect the parts of a model and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable


@runtime_checkable
class HasWeights(Protocol):
    """A subject with named arrays that training changes."""

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Return name and NumPy array of every weight in a stable order; names are unique, with parts joined by "/"."""
        ...


@runtime_checkable
class HasGradients(Protocol):
    """A subject whose gradients of the loss can be read."""

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Keep the gradients of the next weight update; return a function that returns them after that update.

        The gradients are NumPy arrays by the names of their weights; for a sparse gradient, its stored values.
        """
        ...


@runtime_checkable
class HasActivations(Protocol):
    """A subject that can show the outputs of its layers for held-out data."""

    def activations(self, batch_size: int) -> Iterable[tuple[str, Any]]:
        """Return layer names and NumPy arrays of the outputs, for all held-out data in batches of ``batch_size``.

        A layer occurs in each batch as often as the model calls it. The call must not affect the training, except for
        the random generators of Python, NumPy and ``HasRandomState``, which the caller restores.
        """
        ...


class Node(NamedTuple):
    """One box of a subject's graph."""

    name: str
    """A unique name; "/" separates nested parts, as in file paths."""
    kind: str
    """The name of the class or operation."""
    inputs: tuple[str, ...] = ()
    """Names of the nodes whose outputs are its inputs."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values to show."""
    shape: tuple[int | None, ...] | None = None
    """Shape of the output, with None for a variable size; None if the shape is unknown."""


@runtime_checkable
class HasGraph(Protocol):
    """A subject whose parts can be drawn as a graph."""

    def graph(self) -> Sequence[Node]:
        """Return the parts, each with the names of the parts whose outputs are its inputs."""
        ...


@runtime_checkable
class HasTrace(Protocol):
    """A subject whose operations can be traced through one pass over held-out data."""

    def trace(self, batch_size: int) -> Sequence[Node]:
        """Return the operations of a forward pass over ``batch_size`` samples; restrictions as for ``activations``."""
        ...


@runtime_checkable
class HasConfig(Protocol):
    """A subject described by what Keras's ``model.to_json`` writes, which TensorBoard draws as its conceptual graph."""

    def config(self) -> str:
        """Return the description, as JSON."""
        ...
