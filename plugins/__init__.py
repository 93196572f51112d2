"""The built-in callbacks."""

from .early_stopping import EarlyStopping
from .guards.learning_rate_scheduler import LearningRateScheduler
from .journal import Journal
from .model_checkpoint import ModelCheckpoint
from .reduce_lr_on_plateau import ReduceLROnPlateau
from .tensorboard import TensorBoard

__all__ = ["EarlyStopping", "Journal", "LearningRateScheduler", "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard"]
