"""The directories in which a run may save: a directory, or all those below it that a path with fields can name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

_ESCAPED = re.compile(r"\[([*?[])\]")


class Reach(NamedTuple):
    """Directories that a pattern names.

    >>> numbers = Reach(Path("/run"), ("*[0-9]*",))
    >>> numbers.meets(Reach(Path("/run/3"))), numbers.meets(Reach(Path("/run/best")))
    (True, False)
    """

    root: Path
    """A directory, links followed."""
    below: tuple[str, ...] = ()
    """A ``glob`` pattern for each part of the path below it; none for the directory itself."""

    @classmethod
    def of(cls, pattern: Path) -> Reach:
        """Return the directories that a ``glob`` pattern names.

        >>> Reach.of(Path("/run[[]1]/*/x")).below
        ('*', 'x')
        """
        fixed = 0
        while fixed < len(pattern.parts) and _is_plain(pattern.parts[fixed]):
            fixed += 1
        root = Path(*map(_unescaped, pattern.parts[:fixed]))
        return cls(Path(os.path.realpath(root)), pattern.parts[fixed:])

    def existing(self, name: str = "") -> Iterator[Path]:
        """Yield those of the directories that exist, and that have a file with this name if it is given."""
        pattern = Path(glob.escape(str(self.root)), *self.below)
        for found in glob.iglob(os.path.join(pattern, name)):  # noqa: PTH118, PTH207 - with "", only directories
            yield Path(found).parent if name else Path(found)

    def meets(self, other: Reach) -> bool:
        """Return whether a directory may be one of both."""
        mine, theirs = self._patterns, other._patterns
        return len(mine) == len(theirs) and all(map(_may_be_equal, mine, theirs))

    def relative_to(self, directory: Path) -> tuple[str, ...]:
        """Return the patterns below a directory, which is the root or lies around it."""
        return self._patterns[len(directory.parts) :]

    @property
    def _patterns(self) -> tuple[str, ...]:
        return (*map(glob.escape, self.root.parts), *self.below)


def _may_be_equal(first: str, second: str) -> bool:
    """Return whether a name may match both patterns."""
    if _is_plain(first):
        return fnmatchcase(_unescaped(first), second)
    if _is_plain(second):
        return fnmatchcase(_unescaped(second), first)
    begins = [re.split(r"[*?]|\[(?![*?[]\])", each, maxsplit=1)[0] for each in (first, second)]
    return begins[0].startswith(begins[1]) or begins[1].startswith(begins[0])


def _is_plain(pattern: str) -> bool:
    return not glob.has_magic(_ESCAPED.sub("", pattern))


def _unescaped(pattern: str) -> str:
    return _ESCAPED.sub(r"\1", pattern)
