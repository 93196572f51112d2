"""The command line program ``trainbus``."""

from .main import main

__all__ = ["main"]
