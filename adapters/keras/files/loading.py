"""Load a file of Keras into an existing model, completely or not at all."""

# Keras declares no types
# pyright: basic

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import h5py  # type: ignore[import-untyped, unused-ignore]
import keras
import numpy as np

from trainbus import CheckpointError
from trainbus.limits import MESSAGE

try:
    from .layer_differences import differing_layers, weights_of_other_layers
    from .optimizer_state import optimizer_mismatch
    from .saving import check_readable
except ImportError as error:  # it uses private parts of Keras, which another version may lack
    WHY_NOT = str(error)
else:
    WHY_NOT = ""
"""Why this version of Keras does not let files be written in the background or checked; empty if it does."""


SAME_LAYERS = "give this model the layers that it had when the file was saved"


def load_file(model: Any, path: Path) -> None:
    """Load the weights and, except from a legacy ``.h5`` model, the optimizer's state.

    Raises:
        UnreadableCheckpoint: Keras did not write the file, or it is damaged; nothing was changed.
        CheckpointError: It is the file of another model, or has another optimizer's state, or the model has no
            weights yet; nothing was changed.
    """
    if not WHY_NOT:
        check_readable(path)
    if not model.built:
        raise CheckpointError(
            f"{str(path)!r} cannot be loaded: the model is not built, so it has no weights yet; run one batch "
            "through it, or build() it"
        )
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:  # Keras skips the state of an optimizer that is not built
        optimizer.build(model.trainable_variables)
    variables = [*model.weights, *(() if optimizer is None else optimizer.variables)]
    before = [np.array(keras.ops.convert_to_numpy(each), copy=True) for each in variables]
    try:
        flaw = _flaw_of(model, path)
        if not flaw:
            with _named_by_format(path) as source:
                model.load_weights(str(source))
    except BaseException as error:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        if not isinstance(error, (ValueError, KeyError, OSError, BadZipFile)):
            raise
        raise CheckpointError(f"{str(path)!r} does not fit this model{_why_refused(model, path, error)}") from error
    if flaw:
        raise CheckpointError(flaw)


def _format_of(path: Path) -> str:
    """Return the suffix that Keras gives to a file: the file's own if it names a format, else that of the content."""
    own = next((each for each in (".weights.h5", ".keras", ".h5", ".hdf5") if path.name.endswith(each)), "")
    if own:
        return own
    if is_zipfile(path):
        return ".keras"
    with h5py.File(path, "r") as file:
        return ".h5" if "layer_names" in file.attrs or "model_weights" in file else ".weights.h5"


@contextmanager
def _named_by_format(path: Path) -> Generator[Path]:
    """Provide a file under a name with the suffix by which Keras finds its format."""
    suffix = _format_of(path)
    if path.name.endswith(suffix):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"checkpoint{suffix}"
        try:
            named.symlink_to(path.absolute())
        except OSError:  # Windows allows links to some users only
            shutil.copyfile(path, named)
        yield named


def _why_refused(model: Any, path: Path, error: BaseException) -> str:
    """Return the end of the message for a file that Keras refused: the layers that differ, or Keras's own words."""
    try:
        layers = differing_layers(model, path) if not WHY_NOT else ""
    except (OSError, KeyError, BadZipFile):  # Keras did not write it
        layers = ""
    if layers:
        return f", and nothing was changed; {layers}; {SAME_LAYERS}"
    words = " ".join(str(error).partition("Example error message")[0].split())[:MESSAGE]  # an example ends in a list
    return f"; it is another model's, or not a Keras file: {type(error).__name__}: {words}"


def _flaw_of(model: Any, path: Path) -> str:
    """Return why a file does not fit, where Keras would load a part of it without an error; empty if it may fit."""
    if WHY_NOT or _format_of(path) not in (".keras", ".weights.h5"):
        return ""
    if more := weights_of_other_layers(model, path):
        return (
            f"{str(path)!r} does not fit this model, and nothing was changed; the file has more weights: "
            f"{more}; {SAME_LAYERS}"
        )
    if getattr(model, "optimizer", None) is not None and (why := optimizer_mismatch(model, path)):
        return (
            f"{str(path)!r} does not fit: {why}; to begin with its weights alone, call "
            f"model.load_weights({str(path)!r}) before compile(), instead of resume="
        )
    return ""
