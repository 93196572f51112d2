"""Recorded runs, and what other settings would have decided on them."""

from .reading import read, read_all
from .recording import Recording, Series

__all__ = ["Recording", "Series", "read", "read_all"]
