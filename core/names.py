"""temporary"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def canonical(name: str) -> str:
    n = name.lower().replace("valid_", "val_").replace("validation_", "val_")
    return "accuracy" if n == "acc" else n.replace("val_acc", "val_accuracy") if n == "val_acc" else n


def nearest(name: str, known: Iterable[str]) -> str | None:
    m = difflib.get_close_matches(name, list(known), 1, 0.6)
    return m[0] if m else None


def resolve(name: str, known: Iterable[str]) -> str | None:
    known = list(known)
    if name in known:
        return name
    same = [k for k in known if canonical(k) == canonical(name)]
    return same[0] if len(same) == 1 else None
