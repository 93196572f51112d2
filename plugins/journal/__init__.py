"""Journal: a record of everything that happens in a run."""

from .callback import Journal

__all__ = ["Journal"]
