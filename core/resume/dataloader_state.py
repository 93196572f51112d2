"""Where loaders of batches stand: by their own state where they have one, else by the random generators they draw from.

Known by what they can do, so that no framework is needed: `state_dict` and `load_state_dict` (torchdata's
StatefulDataLoader), or generators with `get_state` and `set_state` as their own or their sampler's attribute
`generator` (PyTorch's DataLoader).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .serialization import from_json_data, to_json_data

__all__ = ["capture_loader", "generators_of", "is_stateful", "restore_loader"]


TENSOR = "$tensor"
"""The key that tells an array that was a tensor from a mapping."""


def is_stateful(loader: Any) -> bool:
    """Whether a loader can say itself where it stands, and go on from there."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def generators_of(loader: Any) -> Iterator[Any]:
    """The generators of its own that a loader draws from, each once."""
    found: list[Any] = []
    for holder in (loader, getattr(loader, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if hasattr(generator, "get_state") and hasattr(generator, "set_state"):
            found += [generator] if all(generator is not each for each in found) else []
    yield from found


def capture_loader(loader: Any) -> Any:
    """Where the loader stands, as plain data; None where nothing of its own tells."""
    if is_stateful(loader):
        try:
            return {"state": to_json_data(_marked(loader.state_dict()))}
        except TypeError:  # something in it is no plain data: its batches are counted then, as any loader's
            return None
    states = [to_json_data(generator.get_state()) for generator in generators_of(loader)]
    state: dict[str, Any] = {"generators": states} if states else {}
    if _has_workers(loader):
        state["workers"] = True
    return state or None


def restore_loader(loader: Any, state: Any) -> bool:
    """Let the loader stand where `capture_loader` found it; whether it goes on from the batch after that by itself."""
    if state is None:
        return False
    if "state" in state and is_stateful(loader):
        loader.load_state_dict(_unmarked(from_json_data(state["state"])))
        return True
    if "workers" in state and getattr(loader, "persistent_workers", False) and not _has_workers(loader):
        iter(loader)  # they draw from the generators when they start, which would shift the order of this epoch
    for generator, its_state in zip(generators_of(loader), state.get("generators", ()), strict=False):
        there = generator.get_state()
        back = from_json_data(its_state)
        generator.set_state(type(there)(back) if not hasattr(there, "new_tensor") else there.new_tensor(back))
    return False


def _has_workers(loader: Any) -> bool:
    """Whether the workers of a PyTorch DataLoader have started that stay until it is gone."""
    return getattr(loader, "_iterator", None) is not None


def _marked(state: Any) -> Any:
    """The state with its tensors told from arrays, as whose equals plain data brings them back."""
    if isinstance(state, Mapping):
        return {key: _marked(item) for key, item in state.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(state, (list, tuple)):
        return [_marked(item) for item in state]  # pyright: ignore[reportUnknownVariableType]
    return {TENSOR: state} if hasattr(state, "new_tensor") else state


def _unmarked(state: Any) -> Any:
    """What `_marked` was given, tuples as lists."""
    if isinstance(state, list):
        return [_unmarked(item) for item in state]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(state, dict):
        return state
    if state.keys() == {TENSOR}:  # pyright: ignore[reportUnknownMemberType]
        return sys.modules["torch"].from_numpy(state[TENSOR])
    return {key: _unmarked(item) for key, item in state.items()}  # pyright: ignore[reportUnknownVariableType]
