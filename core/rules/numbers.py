"""Numbers of rules: Python scalars for one run, or NumPy arrays for thousands of runs at once."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

Number: TypeAlias = Any
"""A float, int or bool, or an array of them."""


def where(condition: Number, yes: Number, no: Number) -> Number:
    """Return ``yes`` if ``condition`` holds, else ``no``, element by element."""
    if isinstance(condition, bool):
        return yes if condition else no
    import numpy as np  # noqa: PLC0415 - only arrays reach this line, so NumPy is imported already

    return cast("Number", np.where(condition, yes, no))
