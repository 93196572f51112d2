"""Names with numbers in a line of text, and the data of which they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from ....metrics.direction import known_direction
from ..axis_label import find_axis
from ..metric_names import STAGES, is_held_out, standard_name
from .printed_number import NUMBER, printed_number

_DATA: Final = re.compile(rf"(?<![\w./'@-])({'|'.join(STAGES)})(?![\w./'-])", re.IGNORECASE)
"""A word that says of which data the numbers after it are, alone: in a path or a file name, it does not."""
_RATE: Final = "learning_rate"
_WORD = r"[A-Za-z][\w/.@-]{0,40}"
_DECIMAL = r"[-+]?(?:\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]\d+|nan|inf)"
_END = r"(?![\w/:.-])"
_FRACTION: Final = re.compile(_DECIMAL)
ANY: Final = re.compile(
    rf"(?<![\w/.@-])(?:(?P<name>{_WORD}(?: {_WORD}){{0,3}})\)?\s?[:=]\s{{0,3}}(?P<value>{NUMBER}){_END}"
    rf"|(?P<bare>(?:(?:{'|'.join(STAGES)}) )?{_WORD})\s{{1,3}}(?P<number>{_DECIMAL}){_END}"
    rf"(?:\s?\(\s{{0,4}}(?P<mean>{_DECIMAL})\))?)",
    re.IGNORECASE,
)
"""``name: number`` with any name, and ``name number (mean)`` with the name of a metric."""


class _Name(NamedTuple):
    """What a name tells."""

    text: str
    data: str
    """The word in it for the data; empty if it has none."""
    is_axis: bool
    is_rate: bool
    is_metric: bool


@dataclass(frozen=True)
class NamedNumbers:
    """Finds the names with numbers in a line.

    >>> NamedNumbers(ANY).of("valid | loss 2.5 | acc 0.5")
    {'valid/loss': 2.5, 'valid/acc': 0.5}
    """

    pair: re.Pattern[str]
    """Has groups ``name`` and ``value``, and may have ``bare``, ``number`` and ``mean``."""

    def of(self, line: str, axis: re.Match[str] | None = None, data: str = "") -> dict[str, float]:
        """Return the numbers in a line by their names, with the data before them if the names do not tell these.

        Args:
            line: The line.
            axis: What was found of the axis, which is no metric.
            data: The word for the data of which they are, unless the line has one.
        """
        found: dict[str, float] = {}
        words = [*_DATA.finditer(line)]
        if words and not re.search(r"\w", line[: words[0].start()]):
            data = words[0][1]
        told = of_name = data  # by the words between the names; also by the names
        place = 0
        for pair, name, number in self._pairs(line, axis):
            for word in words:
                if place <= word.start() and word.end() <= pair.start():
                    told = of_name = word[1]
            place = pair.end()
            of_name = name.data or of_name
            data_of = "" if name.data else told if name.text not in found else of_name
            held_out = not name.is_rate and STAGES.get(data_of.lower())
            found[f"{data_of}/{name.text}" if held_out else name.text] = number
        return found

    def _pairs(self, line: str, axis: re.Match[str] | None) -> Iterator[tuple[re.Match[str], _Name, float]]:
        """Yield names and numbers outside of what was found of the axis."""
        for pair in self.pair.finditer(line):
            groups = pair.groupdict()
            bare = groups.get("bare")
            at = pair.start("number" if bare else "value")
            if axis is not None and axis.start() <= at < axis.end():
                continue
            name = _read_name(bare or pair["name"])
            number = printed_number(groups.get("mean") or groups.get("number") or pair["value"])
            if number is not None and not name.is_axis and (name.is_metric or not bare):
                yield pair, name, number


@lru_cache(maxsize=4096)
def _read_name(written: str) -> _Name:
    name = "_".join(written.replace("'s ", "/").split())  # LightGBM's "valid_0's auc"
    words = re.split(r"[^a-z]+", name.lower())
    return _Name(
        name,
        next((word for word in words if word in STAGES), ""),
        is_axis=bool(find_axis([name]).all),
        is_rate=standard_name(name).startswith(_RATE),
        is_metric=name.lower() in STAGES or known_direction(name) is not None,
    )


def data_of(names: Iterable[str]) -> str:
    """Return the word for the data that was put before the first of the names that has one; empty if there is none.

    >>> data_of(["val_loss", "Test/loss"])
    'Test'
    """
    return next((name.partition("/")[0] for name in names if "/" in name), "")


def heading(line: str) -> str:
    """Return the word for held-out data in a line without digits, which says what the next line has; else nothing.

    >>> heading("Test Error:"), heading("Test Error: 3.5")
    ('Test', '')
    """
    word = _DATA.search(line)
    return word[1] if word is not None and STAGES[word[1].lower()] and not any(map(str.isdigit, line)) else ""


def tells_more(line: str, names: Collection[str]) -> bool:
    """Return whether a line has a word for held-out data and a decimal number after it, and none of the names is of it.

    >>> tells_more("valid | 3.5", []), tells_more("valid | loss 3.5", ["valid/loss"]), tells_more("eval.py: 3.5", [])
    (True, False, False)
    """
    if any(is_held_out(name) or STAGES.get(name.lower()) for name in names):
        return False
    return any(STAGES[word[1].lower()] and _FRACTION.search(line, word.end()) for word in _DATA.finditer(line))
