"""ModelCheckpoint: save the model during training."""

from .callback import ModelCheckpoint

__all__ = ["ModelCheckpoint"]
