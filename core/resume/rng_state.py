"""Where the global random generators of Python and NumPy stand."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from ..capabilities import HasRandomState, has

__all__ = ["get_rng_state", "preserved_rng", "set_rng_state"]

WORDS = "<625Q"
"""Python's generator: 624 words and a position."""


def get_rng_state(subject: object = None) -> dict[str, Any]:
    """The state of the generators of Python and NumPy, and of those that the subject knows of.

    It is made of what `to_plain` takes.
    """
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {"python": [version, struct.pack(WORDS, *words), gauss]}
    if "numpy" in sys.modules:  # what nobody has imported, nobody has drawn from
        import numpy as np  # noqa: PLC0415

        state["numpy"] = dict(np.random.get_state(legacy=False))  # noqa: NPY002 - datasets draw from the global one
    if has(subject, HasRandomState):
        state["subject"] = dict(subject.random_state())
    return state


def set_rng_state(state: Mapping[str, Any], subject: object = None) -> None:
    """Bring every generator back to where `get_rng_state` found it."""
    version, words, gauss = state["python"]
    random.setstate((version, struct.unpack(WORDS, words), gauss))
    if "numpy" in state:
        import numpy as np  # noqa: PLC0415

        np.random.set_state(state["numpy"])  # noqa: NPY002
    if "subject" in state and has(subject, HasRandomState):
        subject.set_random_state(state["subject"])


@contextmanager
def preserved_rng(subject: object = None) -> Generator[None]:
    """Whatever is drawn inside, every generator stands afterwards where it stood before.

    >>> with preserved_rng():
    ...     first = random.random()
    >>> first == random.random()
    True
    """
    state = get_rng_state(subject)
    try:
        yield
    finally:
        set_rng_state(state, subject)
