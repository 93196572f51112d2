"""Output to a terminal: readable text, text in the encoding of a stream, and a small plot."""

from .encoding import ESCAPE_OR_DRAW, encodable
from .plot import plot
from .text import format_duration, plural, printable, shortened

__all__ = ["ESCAPE_OR_DRAW", "encodable", "format_duration", "plot", "plural", "printable", "shortened"]
