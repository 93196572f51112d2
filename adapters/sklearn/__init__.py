"""scikit-learn estimators that have `partial_fit`."""

from .subject import SklearnSubject, loss, partial_fit

__all__ = ["SklearnSubject", "loss", "partial_fit"]
