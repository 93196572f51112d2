"""What counts as better, as arguments of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_relative(options: Mapping[str, Any]) -> bool:
    """Return whether ``min_delta`` is a fraction of the best value, as it is by default for the rule of PyTorch.

    >>> is_relative({"min_delta_mode": None}), is_relative({"min_delta_mode": None, "rule": "torch"})
    (False, True)
    """
    mode = options.get("min_delta_mode")
    return mode == "rel" or (mode is None and options.get("rule") == "torch")


def better_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a rule that say what counts as better.

    Args:
        options: The options of a callback by name; ``min_delta`` may be an array of one for each policy.

    >>> better_arguments({"min_delta": 0.1, "min_delta_mode": "rel", "ties": "newer"})
    {'min_delta': 0.0, 'relative_delta': 0.1, 'creeping': False, 'ties': True}
    """
    relative, delta = is_relative(options), options["min_delta"]
    return {
        "min_delta": 0.0 if relative else delta,
        "relative_delta": delta if relative else 0.0,
        "creeping": not options.get("cumulative_delta", True),
        "ties": options.get("ties") == "newer",
    }
