"""temporary"""

from __future__ import annotations

from typing import Literal

from .errors import UnknownDirection


def direction_of(name: str) -> Literal["min", "max"]:
    if "loss" in name or "error" in name:
        return "min"
    if "acc" in name or "f1" in name or "reward" in name:
        return "max"
    raise UnknownDirection(f"cannot tell {name!r}: give mode='min' or mode='max'")
