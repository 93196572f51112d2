"""The layers in which a file of Keras and a model differ."""

# Keras declares no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainbus.limits import MESSAGE

from .saving import OPTIMIZER, opened_weights, recorded_shapes, stored_shapes


def weights_of_other_layers(model: Any, path: Path) -> str:
    """Name the layers in a file of which the model lacks weights; return "" if there are none.

    Keras ignores them.

    Args:
        model: A model that is built.
        path: A ``.keras`` or ``.weights.h5`` file.
    """
    known = recorded_shapes(model)
    with opened_weights(path) as file:
        return _layers(each for each in stored_shapes(file) if each not in known)


def differing_layers(model: Any, path: Path) -> str:
    """Return in which layers a model has weights that a file lacks, or has in other shapes; "" if in none.

    Args:
        model: A model that is built.
        path: A ``.keras`` or ``.weights.h5`` file.
    """
    with opened_weights(path) as file:
        saved = stored_shapes(file)
    present = recorded_shapes(model)
    absent = _layers(name for name in present if name not in saved)
    changed = _layers(name for name, shape in present.items() if saved.get(name, shape) != shape)
    found = [*([f"no weights of {absent}"] if absent else []), *([f"other shapes of {changed}"] if changed else [])]
    return f"the file has {' and '.join(found)}" if found else ""


def _layers(weights: Iterable[str]) -> str:
    """Return the layers of these weights, without the optimizer."""
    own = (each for each in weights if not each.startswith(f"{OPTIMIZER}/"))
    named = dict.fromkeys(f"/{name}".partition("/vars/")[0].lstrip("/") or "the model itself" for name in own)
    return ", ".join(named)[:MESSAGE]
