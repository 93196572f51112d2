"""The error message for a monitored metric that an epoch did not log."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from .direction import near_miss
from .names import canonical, is_validated, nearest, without_data


class MetricAdvice(NamedTuple):
    """What users write to have a metric logged; an adapter that has its own loop replaces it with its own arguments."""

    validation: str = (
        "validate inside `with run.validation():`, or name the epochs that have one by validation_freq, as in "
        "run.epochs(10, validation_freq=2)"
    )
    """How to run a validation."""
    metric: str = "in an epoch that has no value, log None: run.log({{{name!r}: None}})"
    """How to log a metric, or an epoch without a value; ``{name}`` is the metric."""
    where: str = "in this epoch"
    """Where a validation was missed."""


def explain_missing(name: str, metrics: Collection[str], advice: MetricAdvice, *, validated: bool) -> str:
    """Return the error message: what is missing, with the nearest name or what to write.

    Args:
        name: The metric.
        metrics: The names that the epoch has logged.
        advice: What the user writes to log a metric.
        validated: Whether the epoch has had a validation.

    Examples:
        >>> explain_missing("var_loss", ["loss", "val_loss"], MetricAdvice(), validated=True)
        "'var_loss' is not logged; did you mean 'val_loss'? logged: loss, val_loss"
        >>> explain_missing("loss", ["val_loss"], MetricAdvice(metric="log {name!r}"), validated=True)
        "'loss' is not logged; log 'loss'; or did you mean 'val_loss'? logged: val_loss"
        >>> explain_missing("val_acuracy", ["loss"], MetricAdvice("give data"), validated=False)
        "'val_acuracy' is not logged; did you mean 'val_accuracy'? there was no validation in this epoch: give data; \
logged: loss"
    """
    known = [each for each in metrics if is_validated(each)] if is_validated(name) else []
    if is_validated(name) and not known and not validated:
        near = _near_validated(name, metrics)
        meant = f"; did you mean {near!r}? " if near else "; "
        why = f"{meant}there was no validation {advice.where}: {advice.validation};"
    else:
        why = _hint(name, known or metrics, advice.metric.format(name=name))
    return f"{name!r} is not logged{why} logged: {', '.join(metrics) or 'nothing'}"


def _hint(name: str, metrics: Collection[str], advice: str) -> str:
    """Suggest the nearest name; if that is the same metric of other data, name the advice first."""
    near = nearest(name, metrics)
    if near is None:
        return f"; {advice};"
    if is_validated(near) == is_validated(name) or not _is_same(near, name):
        return f"; did you mean {near!r}?"
    alike = (each for each in metrics if is_validated(each) == is_validated(name) and _is_same(each, name))
    found = next(alike, None)
    return f"; {advice}; or did you mean {near!r}?" if found is None else f"; did you mean {found!r}?"


def _is_same(one: str, other: str) -> bool:
    """Return whether two names differ at most in the data on which they are computed."""
    return canonical(without_data(one)) == canonical(without_data(other))


def _near_validated(name: str, metrics: Collection[str]) -> str | None:
    """Return the name that a validation would log and that ``name`` resembles, or a similar one with a direction."""
    near = nearest(name, [f"val_{without_data(each)}" for each in metrics])
    if near is not None:
        return None if canonical(near) == canonical(name) else near
    return near_miss(name)
