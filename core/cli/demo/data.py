"""The data of ``trainbus demo``: scanned digits."""

# scikit-learn has incomplete type annotations
# pyright: basic, reportArgumentType=false

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from trainbus import MissingDependency


class Digits(NamedTuple):
    """Images as rows of 64 pixels from 0 to 1, and their digits; a fifth of them is held out for validation."""

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    x_val: np.ndarray[Any, Any]
    y_val: np.ndarray[Any, Any]


def digits() -> Digits:
    """Return the 1,797 scanned digits that scikit-learn ships.

    Raises:
        MissingDependency: Scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - only the demo needs it
        from sklearn.model_selection import train_test_split  # noqa: PLC0415
    except ImportError:
        raise MissingDependency("the demo needs the data of scikit-learn: pip install 'trainbus[sklearn]'") from None
    images, labels = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(
        images.astype("float32") / 16, labels, test_size=0.2, random_state=0, stratify=labels
    )
    return Digits(x, y, x_val, y_val)
