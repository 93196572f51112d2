"""XGBoost: a callback that turns every training into a run, a round of which is an epoch."""

from .callback import XGBoostCallback
from .subject import XGBoostSubject

__all__ = ["XGBoostCallback", "XGBoostSubject"]

USAGE = "xgboost.train(..., callbacks=[XGBoostCallback(callbacks)])"
"""What a user writes, for messages."""
