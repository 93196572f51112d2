"""The command ``trainbus demo``."""

from .data import Digits, digits
from .demo import FRAMEWORKS, demo

__all__ = ["FRAMEWORKS", "Digits", "demo", "digits"]
