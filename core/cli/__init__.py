"""The command line: `trainbus`."""

from .main import main

__all__ = ["main"]
