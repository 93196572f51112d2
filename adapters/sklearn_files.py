"""scikit-learn estimators in files of skops, which run no code when they are read."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import skops.io
from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

from trainbus import CheckpointError

__all__ = ["read", "unwritable", "write"]


def write(estimator: Any, path: Path) -> None:
    """Write the whole estimator.

    Raises:
        CheckpointError: something in it has no place in a skops file.
    """
    try:
        skops.io.dump(estimator, path)
    except UnsupportedTypeException as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from None


def unwritable(estimator: Any) -> str | None:
    """Why the estimator, as it is now, cannot be written; None where it can.

    >>> from sklearn.cluster import Birch
    >>> unwritable(Birch())
    'skops, which writes estimators to files, says: Objects of type Birch are not supported yet.'
    """
    try:
        skops.io.dumps(estimator)
    except UnsupportedTypeException as error:
        return f"skops, which writes estimators to files, says: {error}"
    return None


def read(path: Path) -> Any:
    """What the file holds, if that consists of types that skops trusts and classes of scikit-learn only.

    Raises:
        CheckpointError: it is no skops file, or holds anything else.
    """
    try:
        unknown = skops.io.get_untrusted_types(file=path)
        others = [name for name in unknown if not _is_sklearn_class(name)]
        if others:
            raise CheckpointError(
                f"{str(path)!r} holds types that are neither skops's nor scikit-learn's: {', '.join(others)}; "
                "if you trust them, read it with skops.io.load(path, trusted=[...])"
            )
        return skops.io.load(path, trusted=unknown)
    except (BadZipFile, KeyError, UntrustedTypesFoundException) as error:
        raise CheckpointError(f"{str(path)!r} is no skops file that can be read: {error}") from None


def _is_sklearn_class(name: str) -> bool:
    """Whether the dotted name is that of a class which scikit-learn itself defines.

    How the name begins proves nothing: scikit-learn's modules also hold what they import from elsewhere, one of them
    `check_output` of subprocess.
    """
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn."):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__ == module
