"""Capture and restore the state of data loaders: their ``state_dict``, or the state of their random generators.

Loaders are recognised by their attributes, so that no framework is imported. A stateful loader has ``state_dict`` and
``load_state_dict``, as torchdata's StatefulDataLoader does. For other loaders, and if these methods raise an error, the
random generators of Python, NumPy and PyTorch that the loader holds are used.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import CellType, FunctionType, ModuleType
from typing import Any, NamedTuple, cast

from ..rng_state import checked_numpy_state
from ..serialization import from_json_data, to_json_data

_DEEPEST = 4
"""Depth of the search from a loader to its generator, as in: progress bar, loader, batch sampler, sampler."""
_MOST = 200
"""Maximum number of objects to search; a loader with a generator holds few."""
_MOST_ITEMS = 16
_LEAVES = frozenset({bool, int, float, str, bytes, type(None)})
"""Types of attributes that neither are a generator nor hold one."""
TENSOR = "$tensor"
"""The key of the mapping that stores a tensor, to distinguish it from an array."""


def is_stateful(loader: Any) -> bool:
    """Return whether a loader can save its own position and continue from it.

    Accelerate's loaders have these methods, but they pass them on to the loader inside, ``base_dataloader``: one of
    PyTorch has none, and one of torchdata begins again when it was saved after its last batch.
    """
    methods = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
    return methods and not hasattr(loader, "base_dataloader")


class Drawn(NamedTuple):
    """A random generator that a loader draws from."""

    get_state: Callable[[], Any]
    """Returns the state."""
    set_state: Callable[[Any], object]
    """Restores a state, even after it was stored as JSON data."""


def generators_of(loader: Any) -> Iterator[Drawn]:
    """Yield the random generators that a loader holds, each once.

    The search covers its attributes, such as its sampler, and the loaders that it wraps.
    """
    for each in _held_by(loader):
        found = _as_generator(each)
        if found is not None:
            yield found


def length_of(loader: Iterable[object]) -> int | None:
    """Return the number of batches; None if the loader has no length, or raises an error: the loop needs none."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - PyTorch's and Lightning's raise several
        return None


def batch_size_of(loader: Any) -> int | None:
    """Return how many samples a batch of the loader has; None if the loader does not say so.

    >>> batch_size_of(range(3)) is None
    True
    """
    for each in (loader, *_held_by(loader)):
        size = getattr(each, "batch_size", None)
        if type(size) is int and size > 0:
            return size
    return None


def iterator_in(loader: Any) -> str:
    """Return the type of the iterator that a loader is or wraps, such as ``zip`` or a generator; empty if none.

    A new process creates it again, and nothing says with which batch it begins.

    >>> iterator_in([1, 2]), iterator_in({"wrapped": zip([1], [2])})
    ('', 'zip')
    """
    for each in (loader, *_held_by(loader)):
        kind: type = type(cast("object", each))
        if isinstance(each, Iterator) and (each is loader or kind.__module__ in ("builtins", "itertools")):
            return kind.__name__
    return ""


def takes_turns(loader: Any) -> bool:
    """Return whether the ranks' loaders take the samples of one order in turn.

    PyTorch's DistributedSampler and Accelerate's samplers, which have these attributes, do.
    """
    pairs = ("num_replicas", "rank"), ("num_processes", "process_index")
    return any(hasattr(each, one) and hasattr(each, other) for each in _held_by(loader) for one, other in pairs)


def _held_by(loader: Any) -> Iterator[Any]:
    """Yield what a loader holds, and what that holds, each once: the nearest first."""
    level, seen = [loader], {id(loader): loader}
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for holder in level:
            for each in _parts_of(holder):
                if id(each) not in seen and len(seen) < _MOST:
                    seen[id(each)] = each
                    below.append(each)
                    yield each
        level = [each for each in below if type(each) not in _LEAVES and _as_generator(each) is None]


def _parts_of(holder: Any) -> list[Any]:
    """Return the attributes or items of an object that may be or wrap a loader; a long list is data."""
    if isinstance(holder, (list, tuple, dict)):
        held = cast("Iterable[Any]", holder.values() if isinstance(holder, dict) else holder)
        items: list[Any] = list(islice(held, _MOST_ITEMS))
        return items if len(items) < _MOST_ITEMS else []
    if isinstance(holder, FunctionType):  # what it encloses
        return [cell.cell_contents for cell in holder.__closure__ or () if cell != CellType()]
    if isinstance(holder, (type, ModuleType)) or hasattr(holder, "__array__"):
        return []
    return list(getattr(holder, "__dict__", {}).values())


def _as_generator(part: Any) -> Drawn | None:
    if isinstance(part, random.Random):
        return _python_generator(part)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(part, (numpy.random.Generator, numpy.random.RandomState)):
        return _numpy_generator(part, legacy=isinstance(part, numpy.random.RandomState))
    # torch's metaclass has a slower check in Python, for objects that only torch's compiler makes
    if torch is not None and type.__instancecheck__(torch.Generator, part):
        return _torch_generator(part)
    return None


def _python_generator(part: random.Random) -> Drawn:
    def set_state(saved: Any) -> None:
        part.setstate((saved[0], tuple(saved[1]), saved[2]))

    return Drawn(part.getstate, set_state)


def _torch_generator(part: Any) -> Drawn:
    def set_state(saved: Any) -> None:
        part.set_state(sys.modules["torch"].as_tensor(saved))

    return Drawn(part.get_state, set_state)


def _numpy_generator(part: Any, *, legacy: bool) -> Drawn:
    def set_bits(saved: Any) -> None:
        part.bit_generator.state = checked_numpy_state(saved)

    def set_legacy(saved: Any) -> None:
        part.set_state(checked_numpy_state(saved))

    if legacy:
        return Drawn(lambda: part.get_state(legacy=False), set_legacy)
    return Drawn(lambda: part.bit_generator.state, set_bits)


def _counts_passes(loader: Any) -> bool:
    """Return whether a loader draws its order anew from the number of the pass, as Accelerate's loaders do."""
    return type(getattr(loader, "iteration", None)) is int and hasattr(loader, "set_epoch")


def capture_loader(loader: Any) -> Any:
    """Return the loader's state as JSON data; None if it has no state that can be saved."""
    state: dict[str, Any] = {}
    if _counts_passes(loader):
        state["iteration"] = loader.iteration
    generators = [to_json_data(generator.get_state()) for generator in generators_of(loader)]
    if generators:
        state["generators"] = generators
    if is_stateful(loader):
        try:
            return {"state": to_json_data(_marked(loader.state_dict())), **state}
        except Exception as error:  # noqa: BLE001 - whatever a loader of another library raises
            state["failure"] = f"{type(error).__name__}: {error}"
    if _has_workers(loader):
        state["workers"] = True
    return state or None


def restore_loader(
    loader: Any, state: Any, *, position: bool = True, report: Callable[[str], object] = lambda _: None
) -> bool:
    """Restore the state from ``capture_loader``; return whether the loader continues after the last batch.

    Whatever ``load_state_dict`` of the loader raises is raised.

    Args:
        loader: The loader.
        state: The state; None if there is none.
        position: Whether the loader may continue from its own ``state_dict``, which counts its batches.
        report: Called with one line if a generator refuses its state.
    """
    if state is None:
        return False
    if "iteration" in state and _counts_passes(loader):
        loader.iteration = state["iteration"]
    if position and "state" in state and is_stateful(loader):
        loader.load_state_dict(_unmarked(from_json_data(state["state"])))
        return True
    if "workers" in state and getattr(loader, "persistent_workers", False) and not _has_workers(loader):
        iter(loader)  # starting workers draws from the generators, so start them before the generators are restored
    for generator, its_state in zip(generators_of(loader), state.get("generators", ()), strict=False):
        try:
            generator.set_state(from_json_data(its_state))
        except Exception as error:  # noqa: BLE001 - whatever a generator of another kind raises
            kind = f"a random generator of {type(loader).__name__}"
            report(f"batches may be drawn in another order: {kind} refuses its state: {type(error).__name__}: {error}")
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
