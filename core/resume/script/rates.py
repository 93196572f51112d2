"""Compare the learning rates that a script sets with those of the checkpoint from which it resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isclose
from typing import Literal, get_args

from ...capabilities import HasLearningRate, has, missing
from ...errors import MissingCapability, SettingsError
from ...metrics.scalars import fetch_together

RateSource = Literal["checkpoint", "script"]
"""Which learning rates to use if the script has changed them since the earlier run."""


def check_source(source: str) -> None:
    """Refuse values other than those of ``RateSource``.

    Raises:
        SettingsError: It is another value.
    """
    if source not in get_args(RateSource):
        raise SettingsError(f"resume_learning_rates={source!r}: give 'checkpoint' or 'script'")


def rates_of(subject: object) -> dict[str, float]:
    """Return the subject's learning rates; none if it has none."""
    return fetch_together(subject.learning_rates()) if has(subject, HasLearningRate) else {}


def apply_script_rates(
    subject: object, before: Mapping[str, float], now: Mapping[str, float], source: str, warn: Callable[[str], object]
) -> Mapping[str, float]:
    """Report learning rates that the script has changed, or use them.

    A rate that the checkpoint's run had cut is cut by the same factor.

    Args:
        subject: What is trained; it has the checkpoint's rates.
        before: The rates that the script had set when the checkpoint's run began.
        now: The rates that the script has set for this run.
        source: A ``RateSource``.
        warn: Reports a problem in one line.

    Returns:
        The script's rates that are in use.

    Raises:
        MissingCapability: The subject's rates cannot be changed.
    """
    changed = {
        name: rate for name, rate in now.items() if name in before and not isclose(rate, before[name], rel_tol=1e-6)
    }
    restored = rates_of(subject)
    changed = {name: rate for name, rate in changed.items() if name in restored}
    if not changed:
        return before or now
    if source == "checkpoint":
        name, rate = next(iter(changed.items()))
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        warn(
            f"{name} is {restored[name]:g}, as in the checkpoint{more}: the script's change from {before[name]:g} to "
            f"{rate:g} has no effect; to use it, give resume_learning_rates='script'"
        )
        return before
    if why := missing(subject, HasLearningRate):
        raise MissingCapability(f"resume_learning_rates='script' changes learning rates, but {why}")
    assert has(subject, HasLearningRate)
    subject.set_learning_rates(
        {name: restored[name] * rate / before[name] if before[name] else rate for name, rate in changed.items()}
    )
    return {**before, **changed}
