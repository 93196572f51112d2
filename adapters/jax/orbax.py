"""Checkpoints of Orbax: a directory with an index, and beside it what Orbax itself writes.

``best.orbax`` holds ``index.json`` and one directory, which Orbax itself restores::

    (directory,) = Path("best.orbax").glob("shards-*")
    state = orbax.checkpoint.StandardCheckpointer().restore(directory.absolute(), state)

The index names the directory of the last save, so that a save replaces the previous one at once.
"""

# Orbax's types are partly unknown, and it is not installed where types are checked
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from trainbus import CheckpointError, MissingDependency
from trainbus.storage.atomic_file import fill, reading
from trainbus.storage.sharded_directory import SHARDS

from .files import Content
from .leaves import dtype_of, with_leaves

ORBAX = ".orbax"
INDEX = "index.json"


def is_installed() -> bool:
    """Return whether Orbax is installed, without importing it, which takes seconds."""
    return find_spec("orbax") is not None and find_spec("orbax.checkpoint") is not None


def write_directory(content: Content, structure: Any, directory: Path) -> None:
    """Write a checkpoint into a directory.

    Args:
        content: The arrays.
        structure: A state with leaves of these names, in whose structure Orbax stores the arrays, so that it restores
            such a state; None to store them as nested dictionaries.
        directory: The directory.

    Raises:
        CheckpointError: Orbax cannot hold two of the names.
        OSError: It cannot be written.
    """
    _check_names(content.arrays)
    folder = f"{SHARDS}{secrets.token_hex(8)}"
    filled = {name: array if array.size else None for name, array in content.arrays.items()}  # Orbax stores no others
    in_names = structure is None or isinstance(structure, int)  # a state that is a single array has no structure
    tree = _nested(filled) if in_names else with_leaves(structure, filled)
    library = _library()
    with library.Checkpointer(library.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save((directory / folder).absolute(), args=library.args.PyTreeSave(tree))
    index = {
        "layout": 1,
        "folder": folder,
        "weights_only": content.weights_only,
        "arrays": {name: [content.kinds[name], list(array.shape)] for name, array in content.arrays.items()},
    }
    fill(directory / INDEX, lambda path: path.write_text(json.dumps(index), "utf-8"))


def read_directory(path: Path, check: Callable[[Content], object]) -> Content:
    """Return what is in a directory that ``write_directory`` wrote.

    Args:
        path: The directory.
        check: Called with the shapes and types of the arrays before they are read; it raises an error if they do not
            fit. So a damaged directory never needs more memory than the state.

    Raises:
        UnreadableCheckpoint: It is not such a directory, or is damaged.
    """
    with reading(path):
        index = json.loads((path / INDEX).read_text("utf-8"))
        folder = index["folder"]
        if not isinstance(folder, str) or not folder.startswith(SHARDS) or Path(folder).name != folder:
            raise ValueError(f"{INDEX} names {folder!r}, which is no directory of a checkpoint")
        kinds = {str(name): str(kind) for name, (kind, _) in index["arrays"].items()}
        outline = {  # arrays without memory of their own
            name: np.broadcast_to(np.zeros((), dtype_of(kinds[name])), tuple(map(int, shape)))
            for name, (_, shape) in index["arrays"].items()
        }
        weights_only = bool(index["weights_only"])
    check(Content(outline, kinds, weights_only))
    with reading(path):
        arrays = _arrays((path / folder).absolute(), outline)
        for name, expected in outline.items():
            if (arrays[name].shape, arrays[name].dtype) != (expected.shape, expected.dtype):
                raise ValueError(f"its array {name!r} is not as {INDEX} describes it")
    return Content(arrays, kinds, weights_only)


def _nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays as nested dictionaries, by the parts of their names."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *outer, last = name.split("/")
        inner = tree
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = array
    return tree


def _arrays(directory: Path, outline: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    library = _library()
    with library.Checkpointer(library.PyTreeCheckpointHandler()) as checkpointer:
        stored = checkpointer.metadata(directory).item_metadata.tree
        for name, array in _named(stored).items():
            if name not in outline or tuple(array.shape) != outline[name].shape:
                raise ValueError(f"its array {name!r} is not as {INDEX} describes it")
        as_numpy = library.RestoreArgs(restore_type=np.ndarray)
        arguments = jax.tree.map(lambda _: as_numpy, stored, is_leaf=lambda each: hasattr(each, "shape"))
        found = _named(checkpointer.restore(directory, args=library.args.PyTreeRestore(restore_args=arguments)))
    empty = {name: np.empty(each.shape, each.dtype) for name, each in outline.items() if 0 in each.shape}
    return {**empty, **found}


def _named(tree: Any) -> dict[str, Any]:
    """Return what is in nested dictionaries and lists by name."""
    leaves = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda each: hasattr(each, "shape"))[0]
    return {"/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path): leaf for path, leaf in leaves}


def _check_names(arrays: Mapping[str, Any]) -> None:
    """Refuse names that Orbax, which joins their parts by a dot, would take for the same."""
    seen: dict[str, str] = {}
    for name in arrays:
        other = seen.setdefault(name.replace("/", "."), name)
        if other != name:
            raise CheckpointError(f"Orbax takes {other!r} and {name!r} of the state for one name; save to .npz")


def _library() -> Any:
    try:
        import orbax.checkpoint  # noqa: PLC0415 - the package is optional, and its import takes seconds
    except ImportError as error:
        raise MissingDependency(f"{error}; pip install 'trainbus[orbax]', or save to .npz") from error
    return orbax.checkpoint
