"""Recorded runs, and what other settings would have decided on them."""

from .recording import Recording, Series

__all__ = ["Recording", "Series"]
