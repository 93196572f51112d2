"""EarlyStopping: end the training when a metric has stopped improving."""

from .callback import EarlyStopping

__all__ = ["EarlyStopping"]
