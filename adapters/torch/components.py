"""What takes part in a PyTorch training beside the model: optimizers, schedulers, a scaler and more, each by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from trainbus import SettingsError
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.metrics.names import first_free

from .state_dict import portable, take_in_place
from .weights import differences

__all__ = ["Holders", "named", "states"]


class Holders:
    """The holders of a training's state by kind: "optimizers", "schedulers", "scaler" and "extra".

    Args:
        optimizers: name to optimizer, and so on.
        schedulers: what changes the learning rates.
        scaler: a GradScaler, or None.
        extra: whatever else has a state.
    """

    def __init__(
        self, optimizers: dict[str, Any], schedulers: dict[str, Any], scaler: Any, extra: dict[str, Any]
    ) -> None:
        scalers = {} if scaler is None else {"scaler": scaler}
        self._kinds = {"optimizers": optimizers, "schedulers": schedulers, "scaler": scalers, "extra": extra}

    def state(self, buffers: HostBuffers | None) -> dict[str, Any]:
        """Kind to name to state, on the CPU; in `buffers` where they are given.

        Raises:
            CheckpointError: a state would not load with weights_only=True.
        """
        return {kind: portable(states(each), kind, buffers=buffers) for kind, each in self._kinds.items()}

    def classes(self) -> dict[str, dict[str, str]]:
        """The classes of optimizers and schedulers, by name."""
        return {
            kind: {name: type(holder).__name__ for name, holder in self._kinds[kind].items()}
            for kind in ("optimizers", "schedulers")
        }

    def take(self, found: Mapping[str, Any]) -> None:
        """Give each its state; kinds of which there is no holder are passed over."""
        for kind, holders in self._kinds.items():
            for name, holder in holders.items():
                state = found[kind][name]
                if kind == "optimizers":
                    take_in_place(holder, state)
                elif kind != "scaler" or state:  # a GradScaler that was not enabled has an empty state, and refuses it
                    holder.load_state_dict(state)

    def misfit(self, found: Mapping[str, Any], classes: Mapping[str, Mapping[str, str]]) -> str:
        """In words, why they cannot take these states, of objects of these classes; empty where they can."""
        told = ""
        for kind, holders in self._kinds.items():
            told = told or (differences(kind, holders, found[kind]) if holders else "")
            for name, holder in holders.items():
                told = told or _difference(holder, found[kind][name], classes.get(kind, {}).get(name))
        return told


def named(kind: str, given: Any, needed: str = "state_dict") -> dict[str, Any]:
    """One object, a sequence or a mapping of them, as names and objects.

    Raises:
        SettingsError: one is no object with `needed` and a state.
    """
    if given is None:
        return {}
    found: dict[str, Any] = {}
    if isinstance(given, Mapping):
        found.update(cast("Mapping[str, Any]", given))
    else:
        items = cast("Sequence[Any]", given) if isinstance(given, (list, tuple)) else [given]
        for each in items:
            name = kind if len(items) == 1 else type(each).__name__
            found[first_free(name, found)] = each
    for name, each in found.items():
        lacking = [needs for needs in (needed, "state_dict", "load_state_dict") if not hasattr(each, needs)]
        if lacking or isinstance(each, type):
            what = f"the class {each.__name__}" if isinstance(each, type) else f"of type {type(each).__name__}"
            example = "; give torch.optim.Adam(model.parameters()), say" if kind == "optimizer" else ""
            raise SettingsError(f"{kind} {name!r} is {what}, no object with {needed} and load_state_dict{example}")
    return found


def states(holders: Mapping[str, Any]) -> dict[str, Any]:
    """Name to state."""
    return {name: holder.state_dict() for name, holder in holders.items()}


def _difference(holder: Any, state: Mapping[str, Any], kind: str | None) -> str:
    """In words, why an optimizer or scheduler cannot take this state of an object of class `kind`."""
    if kind is not None and kind != type(holder).__name__:
        return f"the file has the state of {kind}, not of {type(holder).__name__}"
    if hasattr(holder, "param_groups"):
        there, here = (
            [len(group["params"]) for group in groups] for groups in (state["param_groups"], holder.param_groups)
        )
        if there != here:
            return f"{kind} has groups of {there} parameters in the file and of {here} here"
    return ""
