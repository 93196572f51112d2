"""What a subject's graphs are: none of them may cost the run."""

from __future__ import annotations

from collections.abc import Sequence

from trainbus.capabilities import HasConfig, HasGraph, HasTrace, Node, missing
from trainbus.failures import LOG
from trainbus.randomness import undrawn

__all__ = ["config_of", "graph_of"]


def graph_of(subject: object, batch_size: int) -> Sequence[Node]:
    """The operations of one pass, where the subject can be followed through it, or else its parts; empty for neither.

    Args:
        subject: what is trained.
        batch_size: samples that it is run with.
    """
    told = ""
    if isinstance(subject, HasTrace) and missing(subject, HasTrace) is None:
        try:
            with undrawn(subject):
                return subject.trace(batch_size)
        except Exception as error:  # noqa: BLE001 - training is worth more than its pictures
            told = f"{type(error).__name__}: {error}"
    try:
        parts = subject.graph() if isinstance(subject, HasGraph) and missing(subject, HasGraph) is None else ()
    except Exception as error:  # noqa: BLE001 - as above
        told, parts = f"{type(error).__name__}: {error}", ()
    if told:
        LOG.warning("TensorBoard: %s: %s", "the graph shows parts, not operations" if parts else "no graph", told)
    return parts


def config_of(subject: object) -> str:
    """The subject as Keras describes models; empty where it is no such model."""
    try:
        return subject.config() if isinstance(subject, HasConfig) and missing(subject, HasConfig) is None else ""
    except Exception as error:  # noqa: BLE001 - as above
        LOG.warning("TensorBoard: no conceptual graph: %s: %s", type(error).__name__, error)
        return ""
