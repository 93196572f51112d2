"""The line numbers of keys and values in a TOML text.

Python's TOML parser does not report line numbers for keys. But the text up to the end of any statement is valid TOML.
So the shortest beginning of the text that parses and contains a key ends with that key's statement. This holds for
every notation (arrays of tables, dotted and quoted keys, inline tables, multi-line strings), and costs a few parses
for each reported problem.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from functools import cache
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys of tables and indices of arrays, from the outermost to the innermost."""

_CLOSERS = ("", "\n]", "}", "}\n]", "]}", "\n]}\n]", "\n]\n]")
"""Texts that may complete an array or an inline table that continues on the next lines."""

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def syntax_problem(text: str, error: tomllib.TOMLDecodeError) -> tuple[int, int, str]:
    r"""Return line and column, counted from 1, and the message of a parser error.

    >>> try:
    ...     tomllib.loads("a = 1\nb =")
    ... except tomllib.TOMLDecodeError as error:
    ...     syntax_problem("a = 1\nb =", error)
    (2, 4, 'invalid value; write text in quotes')
    """
    message = str(error)
    found = _POSITION.search(message)
    why = message[: found.start()] if found else message
    lines = text.split("\n")
    line, column = (int(found[1]), int(found[2])) if found and found[1] else (len(lines), len(lines[-1]) + 1)
    if why == "Invalid value":
        why += "; write text in quotes"
    return line, column, why[:1].lower() + why[1:]


class Lines:
    r"""Finds the lines of keys and values in a TOML text.

    >>> lines = Lines('[[callbacks]]  # first\ncallback = "EarlyStopping"\n\npatience = 3\n')
    >>> lines.of(("callbacks", 0)), lines.of(("callbacks", 0, "patience"))
    (1, 4)
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._parsed = cache(self._parse)

    def of(self, path: KeyPath) -> int:
        """Return the line, counted from 1, where the statement of ``path``, or of its longest known part, begins."""
        while path and not self._contains(len(self._lines), path):
            path = path[:-1]
        if not path:
            return 1
        first = bisect_left(range(len(self._lines)), True, key=lambda count: self._contains(count, path))  # noqa: FBT003
        return self._complete(first - 1) + 1

    def _contains(self, count: int, path: KeyPath) -> bool:
        """Return whether the first ``count`` lines, without an incomplete last statement, contain the path."""
        found: Any = self._parsed(self._complete(count))
        try:
            for key in path:
                found = found[key]
        except (KeyError, IndexError, TypeError):
            return False
        return True

    def _complete(self, count: int) -> int:
        """Return how many of the first ``count`` lines remain without an incomplete last statement."""
        while self._parsed(count) is None:
            count -= 1
        return count

    def _parse(self, count: int) -> dict[str, Any] | None:
        text = "\n".join(self._lines[:count])
        for closer in _CLOSERS:
            try:
                return tomllib.loads(text + closer)
            except tomllib.TOMLDecodeError:
                continue
        return None
