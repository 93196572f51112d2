"""Save and restore the state of the random generators of Python, NumPy and the subject."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from ..capabilities import HasRandomState, has
from .serialization import from_json_data

WORDS = "<625Q"
"""Python's generator: 624 words and a position."""
POSITIONS: Mapping[str, tuple[str, str, int]] = {"MT19937": ("state", "pos", 624), "Philox": ("", "buffer_pos", 4)}
"""NumPy's generators that index their memory by a number in their state: where it is, and the largest one."""


def get_rng_state(subject: object = None) -> dict[str, Any]:
    """Return the state of the global generators of Python and NumPy, and of the subject's generators.

    ``trainbus.resume.serialization.to_json_data`` accepts the result.
    """
    # first, since Keras draws from Python's generator when it makes its own one
    own = dict(subject.random_state()) if has(subject, HasRandomState) else None
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {"python": [version, struct.pack(WORDS, *words), gauss]}
    if "numpy" in sys.modules:  # if NumPy is not imported, nothing was drawn from it
        import numpy as np  # noqa: PLC0415

        state["numpy"] = dict(np.random.get_state(legacy=False))  # noqa: NPY002 - datasets draw from the global one
    if own is not None:
        state["subject"] = own
    return state


def set_rng_state(state: Mapping[str, Any], subject: object = None) -> None:
    """Restore every generator to the state that ``get_rng_state`` returned; those without a state stay as they are."""
    if "subject" in state and has(subject, HasRandomState):
        subject.set_random_state(state["subject"])
    if "python" in state:
        version, words, gauss = state["python"]
        if not (gauss is None or type(gauss) is float):  # Python takes any object, and fails when it draws
            raise ValueError(f"the state of Python's generator has {str(gauss)[:40]!r} in place of a number")
        random.setstate((version, struct.unpack(WORDS, words), gauss))
    if "numpy" in state:
        import numpy as np  # noqa: PLC0415

        np.random.set_state(checked_numpy_state(state["numpy"]))  # noqa: NPY002


def checked_numpy_state(state: Any) -> Any:
    """Return the state of one of NumPy's generators, whose position NumPy does not check.

    Raises:
        ValueError: The position is outside of the generator's memory, or the state is not that of a generator.

    >>> checked_numpy_state({"bit_generator": "MT19937", "state": {"key": [0] * 624, "pos": -1}})
    Traceback (most recent call last):
        ...
    ValueError: the state of a MT19937 generator has the position -1, which is not one of 0 to 624
    """
    given = cast("Mapping[str, Any]", state if isinstance(state, Mapping) else {})
    kind = given.get("bit_generator")
    if not isinstance(kind, str):
        raise ValueError("the state of a NumPy generator does not name its kind")  # noqa: TRY004 - the data are wrong
    if kind in POSITIONS:
        part, name, largest = POSITIONS[kind]
        holder = given.get(part) if part else given
        position = cast("Mapping[str, Any]", holder).get(name) if isinstance(holder, Mapping) else None
        if type(position) is not int or not 0 <= position <= largest:
            shown = str(position)[:40]
            raise ValueError(
                f"the state of a {kind} generator has the position {shown}, which is not one of 0 to {largest}"
            )
    return given


def check_rng_state(saved: Any, subject: object = None) -> None:
    """Set every generator to a state that was stored as JSON data, and back: nothing changes.

    Raises:
        ValueError: The state is damaged; other errors are possible, since each library checks its own states.
    """
    with preserved_rng(subject):
        restore_rng_state(saved, subject)


def restore_rng_state(saved: Any, subject: object = None) -> None:
    """Restore every generator to a state that was stored as JSON data; do nothing if it is None."""
    if saved is not None:
        set_rng_state(from_json_data(saved), subject)


@contextmanager
def preserved_rng(subject: object = None) -> Generator[None]:
    """Restore every generator at the end of the block, so that the block has no effect on later random numbers.

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
