"""Numbers in the precision in which a library holds them."""

from __future__ import annotations

from typing import Any

import numpy as np


def single(value: Any) -> Any:
    """Return a value in single precision.

    Args:
        value: A number or an array; too large ones become infinite.

    >>> float(single(0.1)), float(single(1e300))
    (0.10000000149011612, inf)
    """
    with np.errstate(over="ignore"):
        return np.asarray(value, dtype=np.float64).astype(np.float32)
