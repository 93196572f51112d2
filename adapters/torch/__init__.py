"""PyTorch modules in any training loop."""

from .subject import TorchSubject

__all__ = ["TorchSubject"]
