"""The built-in callbacks."""

from trainbus.lambda_callback import LambdaCallback

from .early_stopping import EarlyStopping
from .guards.device_stats import DeviceStats
from .guards.learning_rate_scheduler import LearningRateScheduler
from .guards.terminate_on_nan import TerminateOnNaN
from .guards.time_limit import TimeLimit
from .guards.watchdog import Watchdog
from .journal import Journal
from .model_checkpoint import ModelCheckpoint
from .reduce_lr_on_plateau import ReduceLROnPlateau
from .tensorboard import TensorBoard

__all__ = [
    "DeviceStats",
    "EarlyStopping",
    "Journal",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "TimeLimit",
    "Watchdog",
]
