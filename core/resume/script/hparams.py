"""Check the hyperparameters that a script gives, and compare them with those of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ...errors import SettingsError
from ...terminal.text import shown
from ..serialization import from_json_data, to_json_data


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
