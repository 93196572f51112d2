"""A regular expression for the lines of a log, whose named groups are numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ....errors import SettingsError
from ..axis_label import find_axis
from ..metric_names import is_held_out
from .named_numbers import NamedNumbers, data_of, heading, tells_more
from .printed_number import printed_number
from .unread_lines import UnreadLines

_MEANS_OF = "val"
"""The data of a line of means at the end of an evaluation, if no line before it tells them."""
_EXAMPLE = r"'step (?P<step>\d+): val loss (?P<val_loss>\S+)'"


@dataclass(frozen=True)
class Pattern:
    r"""What is searched in each line of a text.

    >>> Pattern.parse(r"step (?P<step>\S+): val loss (?P<val_loss>\S+)").row("step 4,000: val loss 2.5")
    {'step': 4000.0, 'val_loss': 2.5}
    """

    line: re.Pattern[str]
    """Is searched in the line. Its named groups are an axis, such as "epoch" or "step", and metrics."""
    pairs: NamedNumbers | None = None
    """Finds further metrics in the line, and in later lines without an axis."""

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

    def rows(self, lines: Iterable[str], unread: UnreadLines | None = None) -> Iterator[dict[str, float]]:
        """Yield the numbers in each line that has some.

        Those of a later line without an axis have the last one, if no metric came with it, or if they are of held-out
        data, as "Test set: loss: 0.5" after the lines of an epoch. Of several such lines, as of the batches of an
        evaluation, the last values count.

        Args:
            lines: The lines.
            unread: Receives the lines that name held-out data, and have no metric of it.
        """
        axis = self.axis
        last: dict[str, float] = {}
        evaluated: dict[str, float] = {}
        alone, data, headed = True, "", ""
        for line in lines:
            row = self.row(line)
            told = row.keys()
            if row:
                if evaluated:
                    yield {**evaluated, **last}
                evaluated = {}
                last, alone = {label: row[label] for label in axis}, row.keys() == axis
                headed = ""
                if not alone:
                    yield row
            elif last and self.pairs is not None:
                summary = line.lstrip().startswith("*")  # the means at the end of an evaluation, as torchvision's
                further = self.pairs.of(line, data=headed or (data or _MEANS_OF if summary else ""))
                named = {name: number for name, number in further.items() if is_held_out(name)}
                told = further.keys()
                data, headed = data_of(named), heading(line)
                evaluated |= named
                if alone and (others := {name: number for name, number in further.items() if name not in named}):
                    yield {**others, **last}
            if unread is not None and last and self.pairs is not None and tells_more(line, told):
                unread.add(line)
        if evaluated:
            yield {**evaluated, **last}

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
        row = {name: number for name, text in named if (number := printed_number(text)) is not None}
        if not row.keys() >= self.axis:
            return {}
        return {**self.pairs.of(line, found), **row} if self.pairs is not None else row
