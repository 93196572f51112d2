"""Compare the optimizer options that a script sets with those of the checkpoint from which it resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from ...capabilities import HasOptimizerOptions, has

LONGEST = 100
"""Characters of an option's value in a message; longer values, such as tables, are no options."""
_NAMED = 3
"""Options that one line names."""


def options_of(subject: object) -> dict[str, str]:
    """Return the values of the subject's optimizer options as text, by name; none if it has none.

    Equal numbers have equal texts. Only numbers, text, truth values, None and lists of these are options.

    >>> class Optimized:
    ...     def optimizer_options(self):
    ...         return {"betas": (0.9, 0.999), "weight_decay": 0, "foreach": None, "hook": print}
    >>> options_of(Optimized())
    {'betas': '(0.9, 0.999)', 'weight_decay': '0', 'foreach': 'None'}
    """
    if not has(subject, HasOptimizerOptions):
        return {}
    texts = {name: _as_text(value) for name, value in subject.optimizer_options().items()}
    return {name: text for name, text in texts.items() if text is not None}


def report_script_options(
    subject: object,
    before: Mapping[str, str],
    saved: Mapping[str, str],
    now: Mapping[str, str],
    warn: Callable[[str], object],
) -> Mapping[str, str]:
    """Report in one line the options that the script has changed, and whether the change acts.

    Args:
        subject: What is trained, after its checkpoint was loaded.
        before: The options that the script had set when the checkpoint's run began.
        saved: The options at the time of the save.
        now: The options that the script has set for this run.
        warn: Reports a problem in one line.

    Returns:
        The options that the script had set for what is trained now.
    """
    used = options_of(subject)
    known = [name for name in now if name in used and name in before and name in saved]
    lost = [name for name in known if used[name] != now[name] != before[name]]
    acting = [name for name in known if used[name] == now[name] != before[name] and saved[name] != used[name]]
    if lost:
        each = _listed(f"{name} is {used[name]}, not {now[name]}" for name in lost)
        warn(
            f"{each}: the checkpoint's options replace those that the script has changed; to use the script's, set "
            "them again after the run has begun"
        )
    if acting:
        each = _listed(f"{name} is {now[name]}, not {saved[name][:LONGEST]}" for name in acting)
        warn(f"{each}: the script has changed these options, which the checkpoint does not restore")
    return {**now, **{name: before[name] for name in lost}}


def _listed(items: Any) -> str:
    every = list(items)
    more = f" (and {len(every) - _NAMED} more)" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def _as_text(value: Any) -> str | None:
    if (hasattr(value, "item") and getattr(value, "size", 1) == 1) or _is_one_number(value):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.9g}"
    if value is None or isinstance(value, (bool, int, str)):
        text = str(value)
    elif isinstance(value, (list, tuple)):
        parts = [_as_text(each) for each in cast("list[Any]", value)]
        if None in parts:
            return None
        text = f"({', '.join(cast('list[str]', parts))})"
    else:
        return None
    return text if len(text) <= LONGEST else None


def _is_one_number(value: Any) -> bool:
    return hasattr(value, "item") and hasattr(value, "numel") and value.numel() == 1
