"""PyTorch Lightning: a Lightning callback that turns every ``Trainer.fit`` into a run."""

from trainbus import MissingDependency

try:
    from .callback import LightningCallback
except ModuleNotFoundError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[lightning]'") from error

__all__ = ["LightningCallback"]

USAGE = "Trainer(..., callbacks=[LightningCallback(callbacks)])"
"""What a user writes, for messages."""
