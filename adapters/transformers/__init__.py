"""Hugging Face Transformers: a callback that turns every ``Trainer.train`` into a run."""

from trainbus import MissingDependency

try:
    import transformers as _transformers  # noqa: F401 - only whether it is there
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[transformers]'") from error

from .callback import TransformersCallback

__all__ = ["TransformersCallback"]
