"""ModelCheckpoint: save the model while it trains."""

from .callback import ModelCheckpoint

__all__ = ["ModelCheckpoint"]
