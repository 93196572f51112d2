"""One model, or several by name as one module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from trainbus import SettingsError
from trainbus.settings.subjects import describe


def as_module(model: object, *, swapped: bool = False) -> nn.Module:
    """Return a model as it is, and a mapping of models as one module whose names begin with theirs.

    Args:
        model: A module, or a mapping from names to modules.
        swapped: Whether the optimizer was given as the model, for the message.

    Raises:
        SettingsError: It is neither, or a name cannot be that of a module.

    >>> sorted(as_module({"netG": nn.Linear(1, 1), "netD": nn.Linear(1, 1)}).state_dict())
    ['netD.bias', 'netD.weight', 'netG.bias', 'netG.weight']
    """
    if isinstance(model, nn.Module):
        return model
    if not isinstance(model, Mapping):
        hint = "; did you swap model and optimizer?" if swapped else ""
        raise SettingsError(f"model is {describe(model)}, not a torch.nn.Module{hint}")
    parts = cast("Mapping[object, Any]", model)
    if not parts:
        raise SettingsError('model is an empty mapping; give models by name, as in {"netG": netG, "netD": netD}')
    together, names = nn.ModuleDict(), dict[int, str]()
    for name, part in parts.items():
        if not isinstance(part, nn.Module):
            raise SettingsError(f"model {name!r} is {describe(part)}, not a torch.nn.Module")
        if not (isinstance(name, str) and name.isidentifier()) or hasattr(together, name):
            raise SettingsError(f"model {name!r}: name a model by a word that torch.nn.ModuleDict does not use itself")
        if id(part) in names:
            raise SettingsError(f"models {names[id(part)]!r} and {name!r} are the same module; list it once")
        names[id(part)] = name
        together[name] = part
    return together
