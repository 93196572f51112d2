"""TensorBoard: event files without TensorFlow."""

from .callback import TensorBoard

__all__ = ["TensorBoard"]
