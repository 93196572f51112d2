"""What a subject's graphs are: none of them may cost the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainbus.capabilities import HasConfig, HasGraph, HasTrace, Node, missing
from trainbus.resume.rng_state import preserved_rng


Note = Callable[[str, Exception], object]


def graph_of(subject: object, batch_size: int, note: Note) -> Sequence[Node]:
    """The operations of one pass, where the subject can be followed through it, or else its parts; empty for neither.

    Args:
        subject: what is trained.
        batch_size: samples that it is run with.
        note: hears what is lost, and why.
    """
    failed: Exception | None = None
    if isinstance(subject, HasTrace) and missing(subject, HasTrace) is None:
        try:
            with preserved_rng(subject):
                return subject.trace(batch_size)
        except Exception as error:  # noqa: BLE001 - training is worth more than its pictures
            failed = error
    try:
        parts = subject.graph() if isinstance(subject, HasGraph) and missing(subject, HasGraph) is None else ()
    except Exception as error:  # noqa: BLE001 - as above
        failed, parts = error, ()
    if failed is not None:
        note("the graph shows parts, not operations" if parts else "no graph", failed)
    return parts


def config_of(subject: object, note: Note) -> str:
    """The subject as Keras describes models; empty where it is no such model.

    Args:
        subject: what is trained.
        note: hears what is lost, and why.
    """
    try:
        return subject.config() if isinstance(subject, HasConfig) and missing(subject, HasConfig) is None else ""
    except Exception as error:  # noqa: BLE001 - as above
        note("no conceptual graph", error)
        return ""
