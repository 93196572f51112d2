"""A regular expression for the lines of a log, whose named groups are numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ....errors import SettingsError
from ..axis_label import find_axis
from ..numbers import parse_number

_EXAMPLE = r"'step (?P<step>\d+): val loss (?P<val_loss>\S+)'"
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan|inf)"
"""A number in a text."""


@dataclass(frozen=True)
class Pattern:
    r"""What is searched in each line of a text.

    >>> Pattern.parse(r"step (?P<step>\S+): val loss (?P<val_loss>\S+)").row("step 4,000: val loss 2.5")
    {'step': 4000.0, 'val_loss': 2.5}
    """

    line: re.Pattern[str]
    """Is searched in the line. Its named groups are an axis, such as "epoch" or "step", and metrics."""
    pairs: re.Pattern[str] | None = None
    """Finds further metrics in the line: a group ``name`` and a group ``value``."""

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern that a user wrote.

        Raises:
            SettingsError: It is not a regular expression, or none of its groups is named.
        """
        try:
            line = re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise SettingsError(f"the pattern {text!r} is not a regular expression: {error}") from None
        if not set(line.groupindex) - find_axis(line.groupindex).all:
            named = f", only {', '.join(map(repr, line.groupindex))}" if line.groupindex else ""
            raise SettingsError(f"the pattern {text!r} names no metric{named}; name its groups, as in {_EXAMPLE}")
        return cls(line)

    def rows(self, lines: Iterable[str]) -> Iterator[dict[str, float]]:
        """Yield the numbers in each line that has some; if metrics come in a later line, with those of their axis."""
        axis = self.axis
        last: dict[str, float] = {}
        for line in lines:
            row = self.row(line)
            if row.keys() > axis:
                yield row
            elif row:
                last = row
            elif last and self.pairs is not None and (further := dict(self._pairs(line))):
                yield {**further, **last}

    @cached_property
    def axis(self) -> set[str]:
        """The names of the groups that say where a row is."""
        return find_axis(self.line.groupindex).all

    def row(self, line: str) -> dict[str, float]:
        """Return the numbers in a line by their names; empty if it does not have all of the axis."""
        found = self.line.search(line)
        if found is None:
            return {}
        named = ((name, text) for name, text in found.groupdict().items() if text is not None)
        row = {name: number for name, text in named if (number := _number(text)) is not None}
        return {**dict(self._pairs(line, found)), **row} if row.keys() >= self.axis else {}

    def _pairs(self, line: str, found: re.Match[str] | None = None) -> Iterator[tuple[str, float]]:
        """Yield names and numbers outside of what was found of the axis."""
        for pair in self.pairs.finditer(line) if self.pairs else ():
            if found is not None and found.start() <= pair.start("value") < found.end():
                continue
            number = _number(pair["value"])
            name = "_".join(pair["name"].replace("'s ", "/").split())  # LightGBM's "valid_0's auc"
            if number is not None and not find_axis([name]).all:
                yield name, number


def _number(text: str) -> float | None:
    """Return the number that a text is, with commas between thousands, or a full stop after it."""
    text = text.strip().rstrip(",;.:")
    return parse_number(text.replace(",", "") if _GROUPED.fullmatch(text) else text)
