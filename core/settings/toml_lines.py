"""Where in a TOML text something stands.

Python's parser tells no lines, nor do tomlkit and its like. But the text up to the end of any statement is TOML by
itself, so a key stands in the first line with which the text until there holds it. That is right for every way of
writing it (arrays of tables, dotted and quoted keys, inline tables, strings of many lines), and costs a few parses,
where there is a problem to tell.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Lines", "Path", "SyntaxProblem", "syntax_problem"]

Path: TypeAlias = tuple[str | int, ...]
"""Keys of tables and places in arrays, from the outermost in."""

_CLOSERS = ("", "\n]", "}", "}\n]", "]}", "\n]}\n]", "\n]\n]")
"""What may end an array or an inline table that goes on in further lines."""

_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class SyntaxProblem(NamedTuple):
    """Where a text is no TOML, and why."""

    line: int
    column: int
    why: str


def syntax_problem(text: str, error: tomllib.TOMLDecodeError) -> SyntaxProblem:
    r"""What the parser says of a text, with the place that it names.

    >>> try:
    ...     tomllib.loads("a = 1\nb =")
    ... except tomllib.TOMLDecodeError as error:
    ...     syntax_problem("a = 1\nb =", error)
    SyntaxProblem(line=2, column=4, why='invalid value; text stands in quotes')
    """
    said = str(error)
    found = _PLACE.search(said)
    why = said[: found.start()] if found else said
    lines = text.split("\n")
    line, column = (int(found[1]), int(found[2])) if found and found[1] else (len(lines), len(lines[-1]) + 1)
    if why == "Invalid value":
        why += "; text stands in quotes"
    return SyntaxProblem(line, column, why[:1].lower() + why[1:])


class Lines:
    r"""The lines of a text that is TOML.

    >>> lines = Lines('[[callbacks]]  # first\ncallback = "EarlyStopping"\n\npatience = 3\n')
    >>> lines.of(("callbacks", 0)), lines.of(("callbacks", 0, "patience"))
    (1, 4)
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._parsed = cache(self._parse)

    def of(self, path: Path) -> int:
        """The line, counted from 1, in which that stands, or as much of the path as there is."""
        high = len(self._lines)
        while path and not self._holds(high, path):
            path = path[:-1]
        low = 0  # with so many lines the text does not hold it, with `high` lines it does
        while path:
            middle = (low + high) // 2
            between = (*range(middle, low, -1), *range(middle + 1, high))
            whole = next((number for number in between if self._parsed(number) is not None), None)
            if whole is None:
                break
            if self._holds(whole, path):
                high = whole
            else:
                low = whole
        return low + 1

    def _holds(self, number: int, path: Path) -> bool:
        found: Any = self._parsed(number)
        try:
            for key in path:
                found = found[key]
        except (KeyError, IndexError, TypeError):
            return False
        return True

    def _parse(self, number: int) -> dict[str, Any] | None:
        text = "\n".join(self._lines[:number])
        for closer in _CLOSERS:
            try:
                return tomllib.loads(text + closer)
            except tomllib.TOMLDecodeError:
                continue
        return None
