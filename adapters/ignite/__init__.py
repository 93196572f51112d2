"""PyTorch Ignite: handlers that turn every ``run`` of a trainer, which is an ``Engine``, into a run."""

# Ignite's types are partly unknown
# pyright: basic

from importlib import import_module

from trainbus import MissingDependency

try:
    import_module("ignite")
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[ignite]'") from error

from .handler import IgniteHandler, attach

__all__ = ["IgniteHandler", "attach"]

USAGE = "attach(trainer, TorchSubject(model, optimizer), callbacks, evaluator)"
"""What a user writes, for messages."""
