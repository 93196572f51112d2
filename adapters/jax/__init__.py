"""JAX: a pytree of arrays, or modules of Flax NNX, as the subject of a run."""

from .subject import JaxSubject

__all__ = ["JaxSubject"]
