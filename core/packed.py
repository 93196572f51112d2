"""Plain data that only grows, packed into one text: what is new costs, not what was there before."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["Packed", "unpacked"]

T = TypeVar("T")


class Packed:
    """A list to which items are only added, compressed as it grows.

    >>> packed, epochs = Packed(), [{"loss": 2.5}]
    >>> text = packed.text(epochs, dict)
    >>> epochs.append({"loss": 1.5})
    >>> unpacked(packed.text(epochs, dict)), unpacked(text)
    ([{'loss': 2.5}, {'loss': 1.5}], [{'loss': 2.5}])
    """

    def __init__(self) -> None:
        self._count = 0
        self._stream = zlib.compressobj()
        self._bytes = bytearray()

    def text(self, items: Sequence[T], plain: Callable[[T], Any]) -> str:
        """All of the items as text.

        Args:
            items: the list; what was in it at the last call is still there, and is not looked at again.
            plain: gives an item as JSON can hold it; None leaves it out.
        """
        for item in items[self._count :]:
            told = plain(item)
            self._count += 1
            if told is not None:
                line = json.dumps(told, separators=(",", ":"))
                self._bytes += self._stream.compress(line.encode() + b"\n")
        return b64encode(self._bytes + self._stream.copy().flush()).decode()


def unpacked(text: str | list[Any]) -> list[Any]:
    """The items that a text holds; a list, as trainbus wrote before it packed, is what it is."""
    if isinstance(text, list):
        return text
    return [json.loads(line) for line in zlib.decompress(b64decode(text)).splitlines()] if text else []
