"""What of a training's state is different where it is sharded over ranks: names, what each rank has alone, where to."""

# states are nested values of any kind
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import torch.distributed as dist
from torch import Tensor, nn

from .weights import plain_names, weights_of

__all__ = [
    "Layout",
    "is_classic",
    "is_sharded",
    "parameter_names",
    "place_of",
    "rank_and_size",
    "sharded_like",
    "take_up",
]

RANKS = "ranks"
"""Key of what each rank has alone: rank to its random generators and its buffers, as a tuple, which DCP keeps whole."""
PACKED, NUMBER = "trainbus", "trainbus:"
"""Beginning of a tuple that holds a mapping, and of a key that is a number."""


def is_sharded(value: object) -> TypeGuard[Any]:
    """Whether a tensor is a DTensor, or a module has such parameters."""
    module = sys.modules.get("torch.distributed.tensor")  # nothing is sharded where nobody has imported it
    if module is None:
        return False
    tensors = value.parameters() if isinstance(value, nn.Module) else [value]
    return any(isinstance(tensor, module.DTensor) for tensor in tensors)


def is_classic(model: nn.Module) -> bool:
    """Whether `FullyShardedDataParallel`, the wrapper that came before `fully_shard`, shards it over several ranks.

    Whatever is asked of such a model, be it only the names of its weights, is answered by all ranks together or never.
    """
    module = sys.modules.get("torch.distributed.fsdp")
    if module is None:
        return False
    wrapped: list[Any] = [each for each in model.modules() if isinstance(each, module.FullyShardedDataParallel)]
    return any(each.world_size > 1 for each in wrapped)


def sharded_like(local: Tensor, model: Any) -> Tensor:
    """A sharded tensor whose part on this rank is `local`, on whatever device that is."""
    made: Tensor = type(model)(local, model._spec, requires_grad=False)  # noqa: SLF001 - from_local() would move it
    return made


def rank_and_size() -> tuple[int, int]:
    """The number of this process among those that train together, and how many there are."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def parameter_names(model: nn.Module, optimizer: Any) -> list[str]:
    """The optimizer's parameters, in its order, by their plain names; by their numbers where the model has not all."""
    plain = plain_names(model)
    names = {id(parameter): plain(name) for name, parameter in model.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    found = [names.get(id(parameter), "") for parameter in parameters]
    return found if all(found) else [str(number) for number in range(len(parameters))]


class Layout:
    """How a state goes into shards: by names, as `torch.distributed.checkpoint.state_dict` has it.

    It is made by the thread that trains, between two steps: while FSDP computes, parameters are others.

    Args:
        model: the module that is trained.
        optimizers: name to optimizer.
    """

    def __init__(self, model: nn.Module, optimizers: Mapping[str, Any]) -> None:
        self.names = {name: dict(enumerate(parameter_names(model, each))) for name, each in optimizers.items()}
        self.sharded = is_sharded(model)
        self.rank, self.size = rank_and_size()

    def __call__(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """All of a state, or the model's weights alone, laid out."""
        laid: dict[str, Any]
        if "trainbus" not in state:
            laid = _packed(state)
            return laid
        model: Mapping[str, Any] = state["model"]
        versions = {path: dict(each) for path, each in getattr(model, "_metadata", {}).items()}
        kinds = [kind for kind in state if kind not in ("trainbus", "optimizers", "random")]
        laid = {kind: _packed(state[kind]) for kind in kinds}
        laid["trainbus"] = _packed({**state["trainbus"], "ranks": self.size, "versions": versions})
        optimizers: Mapping[str, Any] = state["optimizers"]
        laid["optimizers"] = {name: _renamed(each, self.names[name]) for name, each in optimizers.items()}
        buffers = {name: value for name, value in model.items() if self.sharded and not is_sharded(value)}
        laid[RANKS] = {str(self.rank): (state["random"], buffers)}
        return laid


def take_up(found: Mapping[str, Any], model: nn.Module, optimizers: Mapping[str, Any]) -> dict[str, Any]:
    """What `Layout` has laid out, and was read again, as `Layout` was given it.

    Instead of "random" it has under "own" what this rank had alone, None where the number of ranks was another.
    """
    state: dict[str, Any] = _unpacked(found)
    if not isinstance(state.get("trainbus"), dict):
        weights = OrderedDict(state)
        vars(weights)["_metadata"] = getattr(weights_of(model), "_metadata")  # noqa: B009 - torch adds it
        return weights
    for kind in ("model", "optimizers", "schedulers", "scaler", "extra"):
        state.setdefault(kind, {})
    weights = state["model"] = OrderedDict(state["model"])
    vars(weights)["_metadata"] = state["trainbus"]["versions"]
    numbers = {name: parameter_names(model, each) for name, each in optimizers.items()}
    for name, each in state["optimizers"].items():
        known = {parameter: number for number, parameter in enumerate(numbers.get(name, []))}
        state["optimizers"][name] = _renamed(each, known)
    rank, size = rank_and_size()
    state["own"] = state.pop(RANKS).get(str(rank)) if state["trainbus"]["ranks"] == size else None
    return state


def _packed(value: Any) -> Any:
    """The value with each mapping that holds no tensor in one piece, and text for all keys of those that do.

    DCP takes mappings to pieces, turns their keys into text and forgets the empty ones.

    >>> _packed({"milestones": {30: 1}})
    ('trainbus', {'milestones': {30: 1}})
    """
    if not isinstance(value, Mapping):
        return value
    if not _holds_tensors(value):
        return PACKED, value
    return {key if isinstance(key, str) else f"{NUMBER}{key}": _packed(each) for key, each in value.items()}


def _unpacked(value: Any) -> Any:
    if isinstance(value, tuple) and value[:1] == (PACKED,):
        return value[1]
    if not isinstance(value, Mapping):
        return value
    return {
        int(key.removeprefix(NUMBER)) if key.startswith(NUMBER) else key: _unpacked(each) for key, each in value.items()
    }


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_tensors, value.values()))
    return any(map(_holds_tensors, value)) if isinstance(value, list) else isinstance(value, Tensor)


def place_of(
    state: Mapping[str, Any], model: nn.Module, optimizers: Mapping[str, Any]
) -> Callable[[tuple[str, ...]], Tensor | None]:
    """What tells for a path of keys in the shards which tensor of this training is sharded as it shall be."""
    parameters = {
        (name, known): parameter
        for name, each in optimizers.items()
        for known, parameter in zip(
            parameter_names(model, each), (p for group in each.param_groups for p in group["params"]), strict=True
        )
    }

    def like(path: tuple[str, ...]) -> Tensor | None:
        if path[:1] == ("optimizers",) and path[2:3] == ("state",):
            found: Any = parameters.get((path[1], path[3]))
        else:
            found = state
            for key in path:
                found = found.get(key) if isinstance(found, Mapping) else None
        return found if is_sharded(found) else None

    return like


def _renamed(state: Mapping[str, Any], names: Mapping[Any, Any]) -> dict[str, Any]:
    """An optimizer's state with other names, or numbers, for its parameters."""
    return {
        **state,
        "state": {names.get(each, each): value for each, value in state.get("state", {}).items()},
        "param_groups": [
            {**group, "params": [names.get(each, each) for each in group["params"]]} for group in state["param_groups"]
        ],
    }
