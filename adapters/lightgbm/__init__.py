"""LightGBM: a callback that turns every training into a run, a round of which is an epoch."""

from .callback import LightGBMCallback
from .subject import LightGBMSubject

__all__ = ["LightGBMCallback", "LightGBMSubject"]

USAGE = "lightgbm.train(..., callbacks=[*LightGBMCallback(callbacks)])"
"""What a user writes, for messages."""
