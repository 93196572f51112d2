"""Check what ``Run(start=...)`` says: how far the training had come before the run began."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from math import isfinite
from typing import Any, cast

from ...errors import SettingsError
from ...limits import EPOCHS, STEPS
from ...metrics.names import check_name, hint_with_list, nearest, resolve
from ...metrics.origin import Origin
from ...metrics.scalars import as_number
from ...settings.arguments import whole_number
from ...terminal.text import shown

_KEYS = ("epoch", "step", "best")


def origin_of(start: object) -> Origin:
    """Return what ``Run(start=...)`` says.

    Raises:
        SettingsError: It is no mapping, or has a wrong key or value.

    >>> origin_of({"epoch": 4, "step": 500, "best": {"val_acc": 71.0}})
    Origin(epoch=4, step=500, best={'val_acc': 71.0})
    >>> origin_of({"epochs": 4})
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: start: unknown key 'epochs'; did you mean 'epoch'? keys: epoch, step, best
    """
    if start is None:
        return Origin()
    if not isinstance(start, Mapping):
        raise SettingsError(f'start={shown(start)}: give a mapping, as in {{"epoch": 4, "step": 500}}')
    given = dict(cast("Mapping[object, Any]", start))
    for key in given:
        if key not in _KEYS:
            raise SettingsError(f"start: unknown key {key!r}{hint_with_list(str(key), _KEYS, 'keys')}")
    best = given.get("best", {})
    if not isinstance(best, Mapping):
        raise SettingsError(f'start: best={shown(best)}: give values by metric, as in {{"val_acc": 71.0}}')
    return Origin(
        epoch=whole_number("start: epoch", given.get("epoch", 0), 0, most=EPOCHS),
        step=whole_number("start: step", given.get("step", 0), 0, most=STEPS),
        best={str(name): _best(name, value) for name, value in cast("Mapping[object, Any]", best).items()},
    )


def _best(name: object, value: object) -> float:
    check_name(cast("str", name))
    try:
        number = as_number(value)
    except TypeError:
        number = float("nan")
    if isinstance(value, (bool, str)) or not isfinite(number):
        raise SettingsError(f"start: best of {name!r} is {shown(value)}: give a finite number")
    return number


def check_best(best: Iterable[str], monitored: Collection[str], report: Callable[[str], object]) -> None:
    """Refuse names in ``best`` that are nearly those of monitored metrics; report others that nothing monitors.

    Args:
        best: The names.
        monitored: Those of the monitored metrics.
        report: Logs a line.

    Raises:
        SettingsError: No callback monitors a name, but one of nearly this name.
    """
    unknown = [name for name in best if resolve(name, monitored) is None]
    near = {name: found for name in unknown if (found := nearest(name, monitored))}
    if near:
        problems = (f"no callback monitors {name!r}; did you mean {found!r}?" for name, found in near.items())
        raise SettingsError(f"start: 'best': {' '.join(problems)}")
    if unknown:
        report(f"start: no callback monitors {', '.join(map(repr, unknown))}")
