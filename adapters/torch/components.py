"""The components of a PyTorch training, without the model: optimizers, schedulers, a scaler and more, each by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from trainbus import CheckpointError, SettingsError
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.metrics.names import first_free

from .state_dict import to_cpu_state
from .weights import differences
from .wrappers import unwrapped_optimizer, unwrapped_scheduler


class TrainingComponents:
    """The components of a training by kind: "optimizers", "schedulers", "scaler" and "extra".

    Args:
        optimizers: Name to optimizer.
        schedulers: Name to learning rate scheduler.
        scalers: Name to GradScaler.
        extra: Name to any other object with a state.
    """

    def __init__(
        self,
        optimizers: dict[str, Any],
        schedulers: dict[str, Any],
        scalers: dict[str, Any],
        extra: dict[str, Any],
    ) -> None:
        self.optimizers = optimizers
        self._kinds = {"optimizers": optimizers, "schedulers": schedulers, "scaler": scalers, "extra": extra}
        self.kinds = tuple(self._kinds)

    def state_dicts(self, kind: str) -> dict[str, Any]:
        """Return name to state_dict of the components of one kind."""
        return {name: component.state_dict() for name, component in self._kinds[kind].items()}

    def cpu_state(self, buffers: HostBuffers | None) -> dict[str, Any]:
        """Return kind to name to state on the CPU, in ``buffers`` if they are given.

        Raises:
            CheckpointError: A state would not load with weights_only=True.
        """
        return {kind: to_cpu_state(self.state_dicts(kind), kind, buffers=buffers) for kind in self._kinds}

    def classes(self) -> dict[str, dict[str, str]]:
        """Return the class names of optimizers and schedulers: kind to name to class name."""
        return {
            kind: {name: _class_of(component) for name, component in self._kinds[kind].items()}
            for kind in ("optimizers", "schedulers")
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Load each component's state; skip kinds of which the training has no component.

        Raises:
            CheckpointError: A component refuses its state; others may have loaded theirs.
        """
        for kind, components in self._kinds.items():
            for name in components:
                try:
                    self.load_one(kind, name, saved[kind][name])
                except Exception as error:
                    what = f"{kind} {name!r} cannot load its state: {type(error).__name__}: {error}"
                    raise CheckpointError(what) from error

    def load_one(self, kind: str, name: str, state: Any) -> None:
        """Load the state of the component of a kind that has this name."""
        component = self._kinds[kind][name]
        if kind == "optimizers":
            _load_in_place(component, state)
        elif kind != "scaler" or state:  # a GradScaler refuses the empty state of a disabled one
            component.load_state_dict(state)

    def mismatch(self, saved: Mapping[str, Any], classes: Mapping[str, Mapping[str, str]]) -> str:
        """Describe why the components cannot load these states, saved from these classes; return "" if they can."""
        reason = ""
        for kind, components in self._kinds.items():
            reason = reason or (differences(kind, components, saved[kind]) if components else "")
            for name, component in components.items():
                reason = reason or _mismatch(component, classes.get(kind, {}).get(name))
        return reason


def by_name(kind: str, given: Any, required: str = "state_dict") -> dict[str, Any]:
    """Return one object, a sequence or a mapping of objects as a mapping from names.

    Args:
        kind: The argument's name, which is also the name of a single object.
        given: The argument; names of a sequence's objects are their classes' names.
        required: An attribute that each object must have in addition to ``state_dict`` and ``load_state_dict``.

    Raises:
        SettingsError: An object lacks one of these attributes.
    """
    if given is None:
        return {}
    named: dict[str, Any] = {}
    if isinstance(given, Mapping):
        named.update(cast("Mapping[str, Any]", given))
    else:
        items = cast("Sequence[Any]", given) if isinstance(given, (list, tuple)) else [given]
        for each in items:
            named[first_free(kind if len(items) == 1 else type(each).__name__, named)] = each
    for name, each in named.items():
        complete = all(hasattr(each, attribute) for attribute in (required, "state_dict", "load_state_dict"))
        if not complete or isinstance(each, type):
            what = f"the class {each.__name__}" if isinstance(each, type) else f"of type {type(each).__name__}"
            example = "; for example, give torch.optim.Adam(model.parameters())" if kind == "optimizer" else ""
            raise SettingsError(
                f"{kind} {name!r} is {what}, not an object with {required} and load_state_dict{example}"
            )
    return named


def optimizers_by_name(given: Any) -> dict[str, Any]:
    """Return optimizers as a mapping from names, without wrappers; see ``by_name``."""
    return {name: unwrapped_optimizer(each) for name, each in by_name("optimizer", given, "param_groups").items()}


def _class_of(component: Any) -> str:
    return type(unwrapped_scheduler(component)).__name__


def _load_in_place(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Load an optimizer's state; fill tensors among its options in place, since a captured CUDA graph reads them."""
    before = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for old, new in zip(before, optimizer.param_groups, strict=True):
        for key, value in old.items():
            if isinstance(value, torch.Tensor) and key in new:
                new[key] = value.copy_(torch.as_tensor(new[key]))


def _mismatch(component: Any, saved_class: str | None) -> str:
    """Describe why an optimizer or scheduler cannot load the state of an object of ``saved_class``."""
    if saved_class is not None and saved_class != _class_of(component):
        return f"the file has the state of {saved_class}, not of {_class_of(component)}"
    return ""
