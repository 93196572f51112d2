"""The state of a training in the layout of a sharded checkpoint of ``torch.distributed.checkpoint`` (DCP)."""

# states are nested values of any kind
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import sys
from ast import literal_eval
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from torch import Tensor, nn

from trainbus.capabilities import (
    BackgroundSaveable,
    HasActivations,
    HasGradients,
    HasTrace,
    HasWeights,
    Restorable,
    Saveable,
    SavesContent,
    SavesParts,
    Snapshotable,
)
from trainbus.limits import KEY_LENGTH

from ..shared.torch_ranks import rank_and_size
from .parameter_names import Names, has_groups, parameter_names
from .weights import weights_of

RANKS = "ranks"
"""Key of the state that differs between ranks: rank to a tuple (DCP does not split it) of random state and buffers."""
NEEDS_WEIGHTS = (
    *(BackgroundSaveable, HasActivations, HasGradients, HasTrace, HasWeights),
    *(Restorable, Saveable, Snapshotable),
)
"""Capabilities that read or change the weights."""
WITHOUT_TENSORS, LITERAL = "trainbus", "trainbus:"
"""First item of a tuple that holds a mapping, and prefix of a key that is not text, such as a number."""


def is_sharded(value: object) -> TypeGuard[Any]:
    """Return whether a tensor is a DTensor, or a module has such parameters, also while FSDP2 has gathered them."""
    module = sys.modules.get("torch.distributed.tensor")  # without this import nothing can be sharded
    if module is None:
        return False
    if not isinstance(value, nn.Module):
        return isinstance(value, module.DTensor)
    if any(isinstance(tensor, module.DTensor) for tensor in value.parameters()):
        return True
    wrapped = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ())
    return any(isinstance(each, wrapped) for each in value.modules())


def is_fsdp1(model: nn.Module) -> bool:
    """Return whether ``FullyShardedDataParallel``, the predecessor of ``fully_shard``, shards it over several ranks.

    Reading anything from such a model, even the names of its weights, is a collective operation of all ranks.
    """
    module = sys.modules.get("torch.distributed.fsdp")
    if module is None:
        return False
    wrapped: list[Any] = [each for each in model.modules() if isinstance(each, module.FullyShardedDataParallel)]
    return any(each.world_size > 1 for each in wrapped)


def why_sharded(model: nn.Module, capability: type) -> str:
    """Return why a sharded model lacks a capability; empty if it does not."""
    if capability in NEEDS_WEIGHTS and is_fsdp1(model):
        return (
            "FullyShardedDataParallel has sharded its weights in a way that no rank can use alone; shard the model "
            "with torch.distributed.fsdp.fully_shard"
        )
    if capability is SavesContent and is_sharded(model):
        return "its weights are sharded over the ranks, and one file cannot hold them; leave content= out"
    if capability is SavesParts and is_sharded(model):
        return "its weights are sharded over the ranks, which write one directory together"
    for each, name in (HasWeights, "weights"), (HasGradients, "gradients"):
        if capability is each and is_sharded(model):
            return f"its {name} are sharded over the ranks, and no rank has all of one"
    return ""


def sharded_like(local: Tensor, model: Any) -> Tensor:
    """Return a tensor sharded as ``model`` whose part on this rank is ``local``, which stays on its device."""
    sharded: Tensor = type(model)(local, model._spec, requires_grad=False)  # noqa: SLF001 - from_local() would move it
    return sharded


class ShardedLayout:
    """Converts a state to its sharded layout: by names, as in ``torch.distributed.checkpoint.state_dict``.

    The training thread creates it between two steps: while FSDP computes, the model has other parameters.

    Args:
        model: The module that is trained.
        names: Name to the names of the parameters of an optimizer; none if only weights are converted.
    """

    def __init__(self, model: nn.Module, names: Mapping[str, Names]) -> None:
        self.names = {name: dict(enumerate(_known_names(each))) for name, each in names.items()}
        self.sharded = is_sharded(model)
        self.rank, self.size = rank_and_size()

    def to_sharded(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sharded layout of a complete state, or of the model's weights alone."""
        sharded: dict[str, Any]
        if "trainbus" not in state:
            sharded = _encode_mappings(state)
            return sharded
        model: Mapping[str, Any] = state["model"]
        versions = {path: dict(each) for path, each in getattr(model, "_metadata", {}).items()}
        kinds = [kind for kind in state if kind not in ("trainbus", "optimizers", "random")]
        sharded = {kind: _encode_mappings(state[kind]) for kind in kinds}
        sharded["trainbus"] = _encode_mappings({**state["trainbus"], "ranks": self.size, "versions": versions})
        optimizers: Mapping[str, Any] = state["optimizers"]
        sharded["optimizers"] = {
            name: _renamed(each, self.names[name]) if has_groups(each) else _encode_mappings(each)
            for name, each in optimizers.items()
        }
        buffers = {name: value for name, value in model.items() if self.sharded and not is_sharded(value)}
        sharded[RANKS] = {str(self.rank): (state["random"], buffers)}
        return sharded


def from_sharded(sharded: Mapping[str, Any], model: nn.Module, optimizers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state from which ``ShardedLayout.to_sharded`` made this one.

    Instead of "random" it has "own": the random state and the buffers that this rank had alone, or None if the number
    of ranks has changed.
    """
    state: dict[str, Any] = _decode_mappings(sharded)
    if not isinstance(state.get("trainbus"), dict):
        weights = OrderedDict(state)
        vars(weights)["_metadata"] = getattr(weights_of(model), "_metadata")  # noqa: B009 - torch adds it
        return weights
    for kind in ("model", "optimizers", "schedulers", "scaler", "extra"):
        state.setdefault(kind, {})
    weights = state["model"] = OrderedDict(state["model"])
    vars(weights)["_metadata"] = state["trainbus"]["versions"]
    for name, each in state["optimizers"].items():
        parameters = _named_parameters(model, optimizers[name]) if name in optimizers else []
        if has_groups(each):
            state["optimizers"][name] = _renamed(each, {known: number for number, (known, _) in enumerate(parameters)})
    rank, size = rank_and_size()
    state["own"] = state.pop(RANKS).get(str(rank)) if state["trainbus"]["ranks"] == size else None
    return state


def _encode_mappings(value: Any) -> Any:
    """Put each mapping without tensors into a tuple; convert the keys of all other mappings to text, even in lists.

    DCP flattens mappings, turns their keys into text and drops empty ones.

    >>> _encode_mappings({"milestones": {30: 1}})
    ('trainbus', {'milestones': {30: 1}})
    """
    if isinstance(value, list):
        return [_encode_mappings(each) for each in value] if _holds_tensors(value) else value
    if not isinstance(value, Mapping):
        return value
    if not _holds_tensors(value):
        return WITHOUT_TENSORS, value
    return {key if isinstance(key, str) else f"{LITERAL}{key!r}": _encode_mappings(each) for key, each in value.items()}


def _decode_mappings(value: Any) -> Any:
    if isinstance(value, tuple) and value[:1] == (WITHOUT_TENSORS,):
        return value[1]
    if isinstance(value, list):
        return [_decode_mappings(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {_decode_key(key): _decode_mappings(each) for key, each in value.items()}


def _decode_key(key: Any) -> Any:
    """Return the key that was converted to text; a list without tensors keeps its mappings with keys of any type."""
    encoded = isinstance(key, str) and key.startswith(LITERAL)
    if encoded and len(key) > KEY_LENGTH:
        raise ValueError(f"a key that is not text has {len(key):,} characters; the limit is {KEY_LENGTH:,}")
    return literal_eval(key.removeprefix(LITERAL)) if encoded else key


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_tensors, value.values()))
    return any(map(_holds_tensors, value)) if isinstance(value, list) else isinstance(value, Tensor)


def placement_of(
    state: Mapping[str, Any], model: nn.Module, optimizers: Mapping[str, Any]
) -> Callable[[tuple[str, ...]], Tensor | None]:
    """Return a function from a path of keys in a sharded state to this training's tensor with the wanted sharding.

    That function returns None if the tensor is not sharded.
    """
    parameters = {name: dict(_named_parameters(model, each)) for name, each in optimizers.items()}

    def like(path: tuple[str, ...]) -> Tensor | None:
        if path[:1] == ("optimizers",) and path[2:3] == ("state",) and path[3:]:
            found: Any = parameters.get(path[1], {}).get(path[3])
        else:
            found = state
            for key in path:
                found = found.get(key) if isinstance(found, Mapping) else None
        return found if is_sharded(found) else None

    return like


def _renamed(state: Mapping[str, Any], names: Mapping[Any, Any]) -> dict[str, Any]:
    """Return an optimizer's state with other names, or numbers, for its parameters."""
    return {
        **state,
        "state": {names.get(each, each): value for each, value in state.get("state", {}).items()},
        "param_groups": [
            {**group, "params": [names.get(each, each) for each in group["params"]]} for group in state["param_groups"]
        ],
    }


def _named_parameters(model: nn.Module, optimizer: Any) -> list[tuple[str, Any]]:
    """Return the optimizer's parameters under their plain names; under their numbers if the model lacks some."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return list(zip(_known_names(parameter_names(model, optimizer)), parameters, strict=True))


def _known_names(names: Names) -> list[str]:
    """Return the names of all groups in one list; the numbers of the parameters if the model lacks some."""
    listed = [name for group in names for name in group]
    return listed if all(listed) else list(map(str, range(len(listed))))
