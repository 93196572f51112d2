"""Check what the user tells a run about its training: where it starts, and its hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from math import isfinite
from typing import Any, cast

from ..errors import SettingsError
from ..limits import EPOCHS, STEPS
from ..metrics.names import check_name, hint_with_list, nearest, resolve
from ..metrics.origin import Origin
from ..metrics.scalars import as_number
from ..settings.arguments import whole_number
from ..terminal.text import shown
from .serialization import from_json_data, to_json_data

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


def hparams_of(given: object) -> dict[str, Any]:
    """Return hyperparameters as plain data of their own.

    Raises:
        SettingsError: They are no mapping from names to plain data.

    >>> hparams_of({"lr": 0.1, "layers": [64, 64]})
    {'lr': 0.1, 'layers': [64, 64]}
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SettingsError(f'hparams={shown(given)}: give a mapping, as in {{"lr": 0.1}} or vars(arguments)')
    found: dict[str, Any] = {}
    for name, value in cast("Mapping[object, Any]", given).items():
        if not isinstance(name, str):
            raise SettingsError(f"hparams: the name {name!r} is not text")
        try:
            found[name] = from_json_data(to_json_data(value, arrays=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise SettingsError(
                f"hparams: {name!r}: {error}; give numbers, text, lists and mappings, or str(value)"
            ) from None
    return found


def merged_hparams(stored: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the hyperparameters of a resumed run, and in words those that the script has changed.

    Args:
        stored: Those of the checkpoint, as it holds them.
        given: Those of the script.

    >>> merged_hparams({"lr": 0.1, "layers": 2}, {"lr": 0.01, "seed": 1})
    ({'lr': 0.01, 'layers': 2, 'seed': 1}, ['lr 0.1 -> 0.01', 'seed is new'])
    """
    changes: list[str] = []
    saved = from_json_data(stored)
    for name, value in given.items():
        if name not in saved:
            changes += [f"{name} is new"] if saved else []
        elif stored[name] != to_json_data(value):
            changes.append(f"{name} {shown(saved[name])} -> {shown(value)}")
    return {**saved, **given}, changes


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
