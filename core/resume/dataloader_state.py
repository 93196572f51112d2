"""Capture and restore the state of data loaders: their ``state_dict``, or the state of their random generators.

Loaders are recognised by their attributes, so that no framework is imported. A stateful loader has ``state_dict`` and
``load_state_dict``, as torchdata's StatefulDataLoader does. For other loaders, the attribute ``generator`` of the
loader or its sampler is used if it has ``get_state`` and ``set_state``, as in PyTorch's DataLoader.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .serialization import from_json_data, to_json_data

TENSOR = "$tensor"
"""The key of the mapping that stores a tensor, to distinguish it from an array."""


def is_stateful(loader: Any) -> bool:
    """Return whether a loader can save its own position and continue from it."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def generators_of(loader: Any) -> Iterator[Any]:
    """Yield the random generators of a loader and of its sampler, each once."""
    found: list[Any] = []
    for holder in (loader, getattr(loader, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if hasattr(generator, "get_state") and hasattr(generator, "set_state"):
            found += [generator] if all(generator is not each for each in found) else []
    yield from found


def capture_loader(loader: Any) -> Any:
    """Return the loader's state as JSON data; None if it has no state that can be saved."""
    if is_stateful(loader):
        try:
            return {"state": to_json_data(_marked(loader.state_dict()))}
        except TypeError:  # not JSON data; the run counts batches instead, as for loaders without state
            return None
    states = [to_json_data(generator.get_state()) for generator in generators_of(loader)]
    state: dict[str, Any] = {"generators": states} if states else {}
    if _has_workers(loader):
        state["workers"] = True
    return state or None


def restore_loader(loader: Any, state: Any) -> bool:
    """Restore the state from ``capture_loader``; return whether the loader itself continues after the last batch."""
    if state is None:
        return False
    if "state" in state and is_stateful(loader):
        loader.load_state_dict(_unmarked(from_json_data(state["state"])))
        return True
    if "workers" in state and getattr(loader, "persistent_workers", False) and not _has_workers(loader):
        iter(loader)  # starting workers draws from the generators, so start them before the generators are restored
    for generator, its_state in zip(generators_of(loader), state.get("generators", ()), strict=False):
        current = generator.get_state()
        saved = from_json_data(its_state)
        generator.set_state(type(current)(saved) if not hasattr(current, "new_tensor") else current.new_tensor(saved))
    return False


def _has_workers(loader: Any) -> bool:
    """Return whether a PyTorch DataLoader has started its persistent workers."""
    return getattr(loader, "_iterator", None) is not None


def _marked(state: Any) -> Any:
    """Return the state with its tensors marked, since JSON data restores tensors as arrays."""
    if isinstance(state, Mapping):
        return {key: _marked(item) for key, item in state.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(state, (list, tuple)):
        return [_marked(item) for item in state]  # pyright: ignore[reportUnknownVariableType]
    return {TENSOR: state} if hasattr(state, "new_tensor") else state


def _unmarked(state: Any) -> Any:
    """Return the state that ``_marked`` received, with lists in place of tuples."""
    if isinstance(state, list):
        return [_unmarked(item) for item in state]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(state, dict):
        return state
    if state.keys() == {TENSOR}:  # pyright: ignore[reportUnknownMemberType]
        return sys.modules["torch"].from_numpy(state[TENSOR])
    return {key: _unmarked(item) for key, item in state.items()}  # pyright: ignore[reportUnknownVariableType]
