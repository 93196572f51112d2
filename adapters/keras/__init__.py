"""Keras 3, on any backend."""

from .callback import KerasCallback
from .subject import KerasSubject

__all__ = ["KerasCallback", "KerasSubject"]
