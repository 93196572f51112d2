"""PyTorch Lightning: a Lightning callback that turns every ``Trainer.fit`` into a run."""

from trainbus import MissingDependency

try:
    import lightning.pytorch  # noqa: F401
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[lightning]'") from error

from .callback import LightningCallback

__all__ = ["LightningCallback"]
