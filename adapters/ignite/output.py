"""What a process function of Ignite returns for a batch."""

# Ignite's outputs have no type
# pyright: basic

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainbus.metrics.scalars import is_numeric


def metrics_in(output: Any) -> Any:
    """Return an output that is one number, or the numbers of a mapping; None for any other."""
    if isinstance(output, Mapping):
        return {name: value for name, value in output.items() if isinstance(name, str) and _is_number(value)}
    return output if _is_number(output) else None


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return not isinstance(value, bool)
    return hasattr(value, "dtype") and math.prod(value.shape) == 1 and is_numeric(value.dtype)
