"""scikit-learn estimators in files of skops, which run no code when they are read, or of joblib, which may."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

import logging
from collections.abc import Container
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped, unused-ignore]
import skops.io
from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

from trainbus import CheckpointError
from trainbus.storage.atomic_file import HashedFile, reading

from .skops_contents import check_contents

LOG = logging.getLogger("trainbus")

JOBLIB = ".joblib"
NO_SKOPS = "is not a readable skops file"
HARMLESS = frozenset({"numpy.dtype"})
"""Types that skops does not trust though they are safe; SimpleImputer, for one, stores a dtype."""


def write(estimator: Any, path: Path) -> str:
    """Write the complete estimator, with skops unless the path ends in ``.joblib``; return the content's digest.

    Raises:
        CheckpointError: skops cannot write a part of it.
    """
    if path.suffix == JOBLIB:
        _warn()
    dump: Any = joblib.dump if path.suffix == JOBLIB else skops.io.dump
    with HashedFile(path) as file:
        try:
            dump(estimator, file)
        except UnsupportedTypeException as error:
            raise CheckpointError(f"{str(path)!r}: {error}") from None
    return file.digest


@cache
def _warn() -> None:
    LOG.warning("a .joblib file runs the code that it holds when it is read; use .skops if you can")


def why_not_serialisable(estimator: Any) -> str | None:
    """Return why the estimator in its current state cannot be written; None if it can.

    >>> from sklearn.cluster import Birch
    >>> why_not_serialisable(Birch())
    'skops, which writes the files, cannot write it: Objects of type Birch are not supported yet.'
    """
    try:
        skops.io.dumps(estimator)
    except UnsupportedTypeException as error:
        return f"skops, which writes the files, cannot write it: {error}"
    return None


def read(path: Path, trusted: Container[str]) -> Any:
    """Return the estimator in a file.

    Args:
        path: The file.
        trusted: Names of more types to trust than those of skops and scikit-learn; ".joblib" for files of that suffix.

    Raises:
        UnreadableCheckpoint: It cannot be read.
        CheckpointError: It holds types that are not trusted.
    """
    if path.suffix == JOBLIB:
        if JOBLIB not in trusted:
            raise CheckpointError(
                f"{str(path)!r}: reading a .joblib file runs any code that it holds; if you trust it, give "
                'trusted=[".joblib"]'
            )
        with reading(path, "is not a readable joblib file"):
            return joblib.load(path)
    with reading(path, NO_SKOPS):
        check_contents(path)
        unknown = skops.io.get_untrusted_types(file=path)
        foreign = (name for name in unknown if name not in HARMLESS and not _is_sklearn_class(name))
        others = [name for name in foreign if name not in trusted]
        if others:
            raise CheckpointError(
                f"{str(path)!r} holds types from outside skops and scikit-learn: {', '.join(others)}; "
                f"if you trust them, give trusted={others}"
            )
        try:
            return skops.io.load(path, trusted=unknown)
        except UntrustedTypesFoundException as error:
            raise CheckpointError(f"{str(path)!r} {NO_SKOPS}: {error}") from None


def _is_sklearn_class(name: str) -> bool:
    """Return whether the dotted name is that of a class that scikit-learn itself defines.

    The prefix of the name is not enough: scikit-learn's modules also hold names that they import from elsewhere, one of
    them ``check_output`` of subprocess.
    """
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn."):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__ == module
