"""What the trainer logs, and what of it is a metric of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NO_METRICS = {"epoch", "learning_rate", "num_input_tokens_seen", "total_flos"}
_RUNTIME = "_runtime"
_SPEEDS = (_RUNTIME, "_samples_per_second", "_steps_per_second", "_tokens_per_second", "_model_preparation_time")


def metrics_in(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics in what the trainer has logged or measured: neither counters, nor times and speeds.

    >>> metrics_in({"eval_loss": 0.5, "eval_runtime": 0.1, "epoch": 2.0})
    {'eval_loss': 0.5}
    """
    return {name: value for name, value in logs.items() if name not in _NO_METRICS and not name.endswith(_SPEEDS)}


def is_summary(logs: Mapping[str, Any]) -> bool:
    """Return whether the trainer logs the result of an evaluation, or of the whole training.

    >>> is_summary({"eval_loss": 0.5, "eval_runtime": 0.1}), is_summary({"loss": 0.5})
    (True, False)
    """
    return any(name.endswith(_RUNTIME) for name in logs)


def correct_mean(logs: dict[str, Any], step: int, begun: int, *, first: bool) -> bool:
    """Correct a mean that the trainer has taken over all steps, although it began in the middle of the training.

    Args:
        logs: What it logs.
        step: The number of its weight updates.
        begun: How many of them were made before it began.
        first: Whether it logs the training loss for the first time.

    Returns:
        Whether there was such a mean.

    >>> logs = {"loss": 0.25}
    >>> correct_mean(logs, 8, 4, first=True), logs
    (True, {'loss': 0.5})
    """
    name = "train_loss" if "train_loss" in logs else "loss"
    if name not in logs or step <= begun or not (first or name == "train_loss"):
        return False
    logs[name] *= step / (step - begun)
    return True
