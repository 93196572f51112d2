"""Lines of a text that seem to have metrics of held-out data, none of which was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SHOWN: Final = 60


@dataclass
class UnreadLines:
    """Counts lines, and keeps the first.

    >>> lines = UnreadLines()
    >>> lines.add("valid | 3.5")
    >>> lines.notes()
    ["1 lines name held-out data, but no metric is found in them, as in 'valid | 3.5': give --pattern to read it."]
    """

    count: int = 0
    first: str = ""

    def add(self, line: str) -> None:
        """Count a line."""
        self.count += 1
        self.first = self.first or line.strip()[:_SHOWN]

    def notes(self) -> list[str]:
        """Return a sentence, if there are such lines."""
        if not self.count:
            return []
        what = f"{self.count:,} lines name held-out data, but no metric is found in them"
        return [f"{what}, as in {self.first!r}: give --pattern to read it."]
