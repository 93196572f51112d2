"""The built-in callbacks."""

from .early_stopping import EarlyStopping
from .model_checkpoint import ModelCheckpoint
from .reduce_lr_on_plateau import ReduceLROnPlateau
from .tensorboard import TensorBoard

__all__ = ["EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard"]
