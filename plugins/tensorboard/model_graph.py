"""The graphs of a subject; a graph that cannot be created is reported and omitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainbus.capabilities import HasConfig, HasGraph, HasTrace, Node, supports
from trainbus.resume.rng_state import preserved_rng

Note = Callable[[str, Exception], object]


def graph_of(subject: object, batch_size: int, note: Note) -> Sequence[Node]:
    """Return the operations of one forward pass if it can be traced, else the subject's layers; empty without either.

    Args:
        subject: The object that is trained.
        batch_size: Number of samples in the forward pass.
        note: Reports what is left out, and why.
    """
    failure: Exception | None = None
    if supports(subject, HasTrace):
        try:
            with preserved_rng(subject):
                return subject.trace(batch_size)
        except Exception as error:  # noqa: BLE001 - a missing graph must not end the training
            failure = error
    try:
        parts = subject.graph() if supports(subject, HasGraph) else ()
    except Exception as error:  # noqa: BLE001 - as above
        failure, parts = error, ()
    if failure is not None:
        note("the graph shows layers, not operations" if parts else "no graph", failure)
    return parts


def config_of(subject: object, note: Note) -> str:
    """Return the model's configuration in Keras's JSON format; empty for other models.

    Args:
        subject: The object that is trained.
        note: Reports that it is left out, and why.
    """
    try:
        return subject.config() if supports(subject, HasConfig) else ""
    except Exception as error:  # noqa: BLE001 - as above
        note("no conceptual graph", error)
        return ""
