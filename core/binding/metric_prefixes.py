"""Give the metrics of a framework the names that they have in trainbus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..settings.arguments import check_metrics


def renamed_metrics(metrics: Mapping[str, Any], prefixes: Mapping[str, str]) -> dict[str, Any]:
    """Return metrics under the names that they have in trainbus.

    Args:
        metrics: The metrics by the names that the framework gives them.
        prefixes: How names begin in the framework, to how they begin in trainbus; the first that fits counts.

    Raises:
        SettingsError: They are not named by text.

    >>> renamed_metrics({"eval_loss": 0.5, "loss": 0.4}, {"eval_": "val_"})
    {'val_loss': 0.5, 'loss': 0.4}
    """
    check_metrics(metrics)
    return {_name(name, prefixes): value for name, value in metrics.items()}


def _name(name: str, prefixes: Mapping[str, str]) -> str:
    for prefix, ours in prefixes.items():
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return name
