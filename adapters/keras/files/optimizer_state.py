"""Check whether the optimizer state in a Keras file belongs to a model's optimizer."""

# Keras declares no types
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import keras

from .saving import CONFIG, opened_weights, recorded_shapes, stored_shapes
from .saving import OPTIMIZER as GROUP


def optimizer_mismatch(model: Any, path: Path) -> str:
    """Describe why the optimizer cannot load the state in a file.

    Return "" if it can, if the file has no such state, or if it belongs to another model. Keras skips a state with
    another number of variables, and loads one with the same number into any optimizer.

    Args:
        model: A model whose optimizer is built.
        path: A ``.keras`` or ``.weights.h5`` file.
    """
    optimizer = model.optimizer
    saved_class = ""
    if is_zipfile(path):
        with ZipFile(path) as archive:
            compiled = json.loads(archive.read(CONFIG)).get("compile_config") or {}
        config = compiled.get("optimizer")
        saved_class = config.get("class_name", "") if isinstance(config, dict) else ""
    with opened_weights(path) as file:
        every = stored_shapes(file)
        layers = {name: shape for name, shape in recorded_shapes(model).items() if not name.startswith(f"{GROUP}/")}
        if GROUP not in file or any(every.get(name) != shape for name, shape in layers.items()):
            return ""  # the file has no such state, or is another model's
        saved = {name.removeprefix(f"{GROUP}/"): every[name] for name in every if name.startswith(f"{GROUP}/")}
        group: Any = file[GROUP]
        name = group["vars"].attrs.get("name", "") if "vars" in group else ""
    kind, present = type(optimizer).__name__, recorded_shapes(optimizer)
    saved_class = saved_class or _class_of(str(name), optimizer)
    if saved_class and saved_class != kind:
        return f"the optimizer in the file is of the class {saved_class}, and {kind} here"
    if len(saved) != len(present):
        return (
            f"the optimizer {kind} has {len(saved)} variables in the file and {len(present)} here, because of other "
            "settings, or because other layers are trainable"
        )
    changed = next((each for each in present if saved.get(each) != present[each]), None)
    if changed is not None:
        return (
            f"the variable {changed!r} of the optimizer {kind} has the shape {saved.get(changed)} in the file and "
            f"{present[changed]} here, because other layers are trainable"
        )
    return ""


def _class_of(saved: str, optimizer: Any) -> str:
    """Return the class of the optimizer that has this name in a file; "" unless both names are Keras's own."""
    known = {each.lower(): each for each in dir(keras.optimizers) if each[:1].isupper()}
    saved, present = (re.sub(r"_\d+$", "", name).replace("_", "") for name in (saved, optimizer.name))
    return known.get(saved, "") if present == type(optimizer).__name__.lower() else ""
