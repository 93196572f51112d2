"""The parameters of optimizers by name: a resume gives each parameter the state that was saved under its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from torch import nn

from .weights import listed, plain_names

Names = Sequence[Sequence[str]]
"""For each group of an optimizer, the names of its parameters; "" for one that the model lacks."""


def parameter_names(model: nn.Module, optimizer: Any) -> list[list[str]]:
    """Return the plain names of an optimizer's parameters by group; "" for a parameter that the model lacks."""
    plain = plain_names(model)
    names = {id(parameter): plain(name) for name, parameter in model.named_parameters()}
    return [[names.get(id(each), "") for each in group["params"]] for group in optimizer.param_groups]


def mismatch(kind: str, saved: Names, began: Names, present: Names, known: Sequence[str]) -> str:
    """Describe why an optimizer cannot load the state of the file; return "" if it can.

    Args:
        kind: The optimizer's class.
        saved: The names of the parameters in the file.
        began: Their names when the run that wrote the file began. An optimizer that has these gets the parameters that
            the run added later.
        present: The names of the optimizer's parameters.
        known: The names of all parameters of the model.

    >>> mismatch("Adam", [["a"], ["b"]], [["a"]], [["a"]], ["a", "b"])
    ''
    >>> mismatch("Adam", [["a"], ["b"]], [["a"], ["b"]], [["a"]], ["a", "b"])
    "Adam has groups of [1, 1] parameters in the file and of [1] here; the file's also trains 'b'"
    """
    sizes = [[len(group) for group in groups] for groups in (saved, present)]
    before, now = (list(chain.from_iterable(groups)) for groups in (saved, present))
    named = all([*before, *now])
    if sizes[0] == sizes[1] if not named else _alike(saved, present):
        return ""
    if named and _alike(began, present) and not set(before).difference(known):
        return ""
    reason = f"{kind} has groups of {sizes[0]} parameters in the file and of {sizes[1]} here"
    if named:
        more, fewer = ([name for name in a if name not in b] for a, b in ((before, now), (now, before)))
        reason += f"; the file's also trains {listed(more)}" if more else ""
        reason += f"; the file's does not train {listed(fewer)}" if fewer else ""
    return reason


def arrange(model: nn.Module, optimizer: Any, saved: Names) -> None:
    """Add the parameter groups of the file to an optimizer, and let the added parameters require gradients.

    Args:
        model: The module that has the parameters.
        optimizer: An optimizer for which ``mismatch`` returned "".
        saved: The names of the parameters in the file.
    """
    present = parameter_names(model, optimizer)
    if _alike(saved, present) or not all(chain.from_iterable([*saved, *present])):
        return
    plain = plain_names(model)
    parameters = {plain(name): parameter for name, parameter in model.named_parameters()}
    for name in set(chain.from_iterable(saved)).difference(*present):
        parameters[name].requires_grad = True
    groups = optimizer.param_groups
    del groups[len(saved) :]
    for group, names in zip(groups, saved, strict=False):
        group["params"] = [parameters[name] for name in names]
    labelled = any("param_names" in group for group in groups)
    for names in saved[len(groups) :]:
        optimizer.add_param_group(
            {"params": [(each, parameters[each]) if labelled else parameters[each] for each in names]}
        )


def in_order_of(state: Mapping[str, Any], saved: Names, present: Names) -> Mapping[str, Any]:
    """Return an optimizer's state with the parameters of each group in their current order.

    A state without torch's groups, as that of an optimizer that holds another one, is returned as it is.
    """
    if not has_groups(state) or not all(chain.from_iterable([*saved, *present])):
        return state
    groups: list[dict[str, Any]] = []
    for group, names, wanted in zip(state["param_groups"], saved, present, strict=True):
        order = [list(names).index(name) for name in wanted]
        lists = {key: [group[key][number] for number in order] for key in ("params", "param_names") if key in group}
        groups.append({**group, **lists})
    return {**state, "param_groups": groups}


def has_groups(state: Mapping[str, Any]) -> bool:
    """Return whether an optimizer's state has the form of torch's: groups of numbered parameters, and their states."""
    groups = state.get("param_groups")
    listed: list[Any] = groups if isinstance(groups, list) else [None]  # pyright: ignore[reportUnknownVariableType]
    standard = all(isinstance(each, Mapping) and "params" in each for each in listed)
    return standard and isinstance(state.get("state", {}), Mapping)


def _alike(one: Names, other: Names) -> bool:
    """Return whether the groups have the same parameters, in any order."""
    return [sorted(group) for group in one] == [sorted(group) for group in other]
