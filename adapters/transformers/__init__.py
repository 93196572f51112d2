"""Hugging Face Transformers: a callback that turns every ``Trainer.train`` into a run."""

from importlib import import_module

from trainbus import MissingDependency

try:
    import_module("transformers")
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[transformers]'") from error

from .callback import TransformersCallback

__all__ = ["TransformersCallback"]

USAGE = "Trainer(..., callbacks=[TransformersCallback(callbacks)])"
"""What a user writes, for messages."""
